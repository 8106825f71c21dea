"""What the local API does over the store; its errors are answers that say who must act."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.notify import read_notify
from globaltx.manifest.schemas.calls import DEPENDS_SENTENCE, HEADERS_SENTENCE, may_repeat
from globaltx.modes import tcc
from globaltx.stores.base import StoreError
from globaltx.transaction.calls import BODY_BYTES_MAX, Calls, Order, Request, Step
from globaltx.transaction.model import Mode
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.insist import insist

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch, Snapshot
    from globaltx.transaction.notification import Notify
    from globaltx.transaction.states import Outcome
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.initiator import Initiator
    from globaltx_sidecar.notify.sender import Sender

Json = dict[str, Any]

WAIT_SECONDS = 10.0
_STATUSES = {
    Reason.ALREADY_DECIDED: 409,
    Reason.UNKNOWN_TRANSACTION: 404,
    Reason.STORE_UNAVAILABLE: 503,
    Reason.STORE_REFUSED: 400,
}


class RefusedError(Exception):
    """It was not done; ``status`` is the answer's."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        xid: Xid | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.reason, self.xid, self.outcome = status, reason, xid, outcome


class LocalService:
    """The operations; ``callable_`` says whether the application beside has a port that can be called.

    ``sender`` knows where outcomes may be told; None: no policy lets this pod tell any.
    """

    def __init__(
        self,
        store: Store,
        initiator: Initiator,
        *,
        callable_: bool,
        sender: Sender | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._store = store
        self._initiator = initiator
        self._callable = callable_
        self._sender = sender
        self._wait_seconds = wait_seconds

    async def begin(self, asked: Json) -> Json:
        """Begin a transaction, durable on return.

        Raises:
            RefusedError: it did not begin, or nobody knows whether it did.
        """
        wishes = read_notify(asked["notify"])
        self._look_at(wishes)
        timeout, mode = timedelta(seconds=asked["timeoutSeconds"]), Mode(asked["mode"])
        begun = self._initiator.start(timeout, mode, notify=wishes)
        failed = await begun.begun
        if failed is not None:
            raise _refused(failed, begun.xid)
        return {"xid": str(begun.xid)}

    async def status(self, xid: Xid) -> Json:
        """Tell how a transaction stands.

        Raises:
            RefusedError: there is none, or the store does not say.
        """
        try:
            snapshot = await insist(lambda: self._store.read(xid), self._wait_seconds)
        except StoreError as error:
            raise _refused(error, xid) from error
        transaction = snapshot.transaction
        decision = transaction.decision
        return {
            "xid": str(xid),
            "state": str(transaction.state),
            "outcome": decision and str(decision.outcome),
            "reason": decision.reason if decision else "",
            "message": decision.message if decision else "",
            "branches": [_told(each) for each in snapshot.branches],
        }

    async def decide(self, xid: Xid, outcome: Outcome, asked: Json) -> Json:
        """Take an outcome, durable on return.

        Raises:
            RefusedError: another outcome stands, there is no such transaction, or nobody knows.
        """
        try:
            stands = await self._initiator.decide(
                xid, outcome, Reason.DECIDED_BY_APPLICATION, asked["message"]
            )
        except StoreError as error:
            raise _refused(error, xid) from error
        if stands.outcome is not outcome:
            said = f"another outcome was taken before: {stands.outcome} ({stands.reason}) {stands.message}"
            raise RefusedError(409, stands.reason, said.strip(), xid=xid, outcome=stands.outcome)
        return {"xid": str(xid), "outcome": str(stands.outcome), "reason": stands.reason}

    async def join(self, xid: Xid, asked: Json) -> Json:
        """Register a branch of TCC or a step, durable on return, so that its work may be done.

        Raises:
            RefusedError: it was not registered; the work must not be done.
        """
        calls = self._calls(asked)
        mode = Mode.TCC if calls.step is None else Mode.SAGA
        mark = f"key {asked['key']}" if asked["key"] else secrets.token_hex(16)
        branch = tcc.branch_id(xid, self._initiator.origin.app, asked["name"], mark)
        try:
            stands = await insist(
                lambda: self._store.join(branch, mode, calls, started=True), self._wait_seconds
            )
            if not stands.started:
                await insist(lambda: self._store.start(branch), self._wait_seconds)
        except StoreError as error:
            raise _refused(error, xid) from error
        if stands.calls is None or stands.calls.request != calls.request:
            message = "the key was used for another branch of this transaction; give each its own"
            raise RefusedError(409, Reason.TRY_REPEATED, message, xid=xid)
        return {"xid": str(xid), "branch": branch.name, "repeated": stands.calls != calls}

    async def completed(self, xid: Xid, name: str) -> Json:
        """Note that a step of this app was done, at a place above all that are noted; durable on return.

        Raises:
            RefusedError: it was not noted, or nobody knows: roll back.
        """
        try:
            branch = await self._step(xid, name)
            if not branch.completed:  # else the place of the first time stands
                await insist(lambda: self._store.complete(branch.id), self._wait_seconds)
                branch = await self._step(xid, name)
        except StoreError as error:
            raise _refused(error, xid) from error
        return {"xid": str(xid), "branch": name, "place": branch.completed}

    async def _step(self, xid: Xid, name: str) -> Branch:
        return self._step_of(await insist(lambda: self._store.read(xid), self._wait_seconds), name)

    def _step_of(self, snapshot: Snapshot, name: str) -> Branch:
        xid, mine = snapshot.transaction.xid, (name, self._initiator.origin.app)
        branch = next((each for each in snapshot.branches if (each.id.name, each.id.app) == mine), None)
        if branch is None:
            message = f"{xid} has no step {name!r} of this app; the answer to its registration names it"
            raise RefusedError(404, Reason.UNKNOWN_TRANSACTION, message, xid=xid)
        if branch.mode is not Mode.SAGA or branch.progress is not None:
            message = f"{name} was not registered as a step here, so nobody asks when it was done"
            raise RefusedError(409, Reason.REQUEST_NOT_SUPPORTED, message, xid=xid)
        return branch

    def _look_at(self, wishes: tuple[Notify, ...]) -> None:
        """Refuse those who could not be told apart, and those who could only be given up."""
        if len({each.name for each in wishes}) < len(wishes):
            message = (
                "body.notify: each notification needs a name of its own; rename one of those that share it"
            )
            raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, message)
        if wishes and self._sender is None:
            message = (
                "body.notify: this pod was made by no TransactionPolicy with notify (secretName and egress), "
                "so it can tell nobody; apply one, then make the pod anew"
            )
            raise RefusedError(403, Reason.DESTINATION_NOT_ALLOWED, message)
        if refused := "; ".join(self._not_allowed(wishes)):
            raise RefusedError(403, Reason.DESTINATION_NOT_ALLOWED, refused)

    def _not_allowed(self, wishes: Iterable[Notify]) -> Iterator[str]:
        for index, each in enumerate(wishes):
            if self._sender and (told := self._sender.refusal(each.url)):
                yield f"body.notify[{index}].url: {told}"

    def _calls(self, asked: Json) -> Calls:
        request = asked["request"]
        headers = tuple((each["name"].lower(), each["value"]) for each in request["headers"])
        body = request["body"].encode()
        step = _step(asked)
        if not self._callable:
            message = "no policy captures an HTTP port of this pod, so nobody could make the calls at the end"
            raise RefusedError(400, Reason.NO_POLICY, message)
        if not all(may_repeat(name) for name, _ in headers):
            raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, f"request.headers: {HEADERS_SENTENCE}")
        kept = Request(request["method"], request["query"], headers, body)
        if kept.grpc:
            message = "request.headers: what is registered here is called by HTTP/1.1, so it cannot be gRPC"
            raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, message)
        if len(body) > BODY_BYTES_MAX:
            message = f"request.body must have at most {BODY_BYTES_MAX} bytes, has {len(body)}"
            raise RefusedError(413, Reason.REQUEST_TOO_LARGE, message)
        return Calls(
            on_commit="" if step else asked["confirm"],
            on_rollback=asked["compensate"] if step else asked["cancel"],
            request=kept,
            timeout=timedelta(seconds=asked["timeoutSeconds"]),
            success_statuses=frozenset(asked["successStatuses"]),
            refusals_max=asked["conflictAfterRefusals"],
            by=f"{self._initiator.origin.pod}/{secrets.token_hex(8)}",
            step=step,
        )


def _step(asked: Json) -> Step | None:
    """What is said of a step; None where a try is meant.

    Raises:
        RefusedError: it is neither, or both.
    """
    given = {name for name in ("confirm", "cancel", "compensate") if name in asked}
    if given not in ({"compensate"}, {"confirm", "cancel"}):
        message = "body: give confirm and cancel (a try), or compensate (a step of a saga)"
        raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, message)
    order, depends_on = Order(asked["order"]), tuple(asked["dependsOn"])
    if depends_on and order is not Order.DEPENDENCIES:
        raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, f"body.dependsOn: {DEPENDS_SENTENCE}")
    return Step(asked["name"], order, depends_on) if "compensate" in given else None


def _told(branch: Branch) -> Json:
    return {
        "app": branch.id.app,
        "resource": branch.id.resource,
        "mode": str(branch.mode),
        "state": str(branch.state),
        "outcome": branch.outcome and str(branch.outcome),
        "reason": branch.reason,
        "message": branch.message,
    }


def _refused(error: StoreError, xid: Xid) -> RefusedError:
    reason = reason_of(error)
    return RefusedError(_STATUSES.get(reason, 500), reason, str(error), xid=xid)
