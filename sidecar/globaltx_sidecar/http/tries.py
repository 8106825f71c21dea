"""Tries: requests that a route makes branches of, and what the guard keeps from the application.

A try's branch, with the try's own request in it, is durable before the try is let through, and so
is the mark that it was. The caller tells its repeats from new tries by the header
``Idempotency-Key``: the same key in the same transaction is the same branch. Of such a branch the
application sees one try. A repeat gets the answer that the first one got, if it was this sidecar that
passed it on. Otherwise its guard row says that it was done, if it has one. It is refused where that is
not there, because nobody here knows what became of the first, and an application that does not hand
the guard on would do it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from multidict import CIMultiDict

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc as mode
from globaltx.modes.guard_row import DONE, Finding, Guarded
from globaltx.modes.tcc import Operation
from globaltx.stores.base import AlreadyDecidedError, StoreError
from globaltx.transaction.calls import Calls, Order, Request
from globaltx.values import dataclass
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.http.answers import Response, refusal
from globaltx_sidecar.http.headers import FOUND_HEADER
from globaltx_sidecar.http.keeping import NotLetThroughError, calls_of
from globaltx_sidecar.insist import insist

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route
    from globaltx.stores.base import Store
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.guards import Guards
    from globaltx_sidecar.metrics import Metrics

WAIT_SECONDS = 10.0
REMEMBERED_MAX = 1024
"""How many answered tries are remembered, the oldest go first: repeats come soon or never."""
ANSWER_BYTES_MAX = 16 * 1024
"""How large an answer may be that is remembered for repeats."""
_STATUSES = {
    Reason.ALREADY_DECIDED: 409,
    Reason.UNKNOWN_TRANSACTION: 400,
    Reason.STORE_UNAVAILABLE: 503,
    Reason.STORE_REFUSED: 500,
}


class UnknownTryError(NotLetThroughError):
    """It is a repeat, and what became of the first one is not known here."""

    def __init__(self, message: str) -> None:
        super().__init__(409, Reason.TRY_REPEATED, message)


class Rows(Protocol):
    """The guard rows of this application."""

    async def done(self, call: Guarded) -> bool:
        """Whether the work of a call was committed; no, if nobody can say."""


@dataclass(slots=True)
class Answered:
    """A try's answer as it is given to its repeats; one of gRPC ends with ``trailers``."""

    status: int
    reason: str
    headers: CIMultiDict[str]
    body: bytes
    trailers: CIMultiDict[str] = field(default_factory=CIMultiDict)


def done_before() -> Answered:
    """The answer to a try that was done before, when nobody knows any more what it was answered with."""
    return Answered(HTTPStatus.OK, HTTPStatus.OK.phrase, CIMultiDict(), b"")


@dataclass(slots=True)
class Try:
    """A try that was let through; ``answer`` is set once it is known, and kept only if it has a key."""

    id: BranchId
    keyed: bool
    fingerprint: bytes
    over: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answered | None = None
    repeated: bool = False
    """Its guard row says that it was done before."""


class LetThrough:
    """One try on its way; made by `Tries.let_through`."""

    __slots__ = ("_asked", "_mine", "_tries", "body")

    def __init__(self, tries: Tries, xid: Xid, route: Route, path: str, request: Request, key: str) -> None:
        self._tries = tries
        self._asked = xid, route, path, request, key
        self.body = request.body
        self._mine: Try | None = None

    async def __aenter__(self) -> Try:
        this, first = await self._tries.enter(*self._asked)
        self._mine = this if first else None
        return this

    async def __aexit__(self, *_: object) -> None:
        if self._mine is not None:
            self._tries.leave(self._mine)


class Tries:
    """The tries of this application that go through this sidecar."""

    def __init__(  # noqa: PLR0913  most have a default
        self,
        store: Store,
        app: str,
        pod: str,
        metrics: Metrics,
        *,
        wait_seconds: float = WAIT_SECONDS,
        guards: Guards | None = None,
        rows: Rows | None = None,
        traced: bool = False,
    ) -> None:
        self._store = store
        self._app = app
        self._pod = pod
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._known: dict[BranchId, Try] = {}
        self._guards = guards
        self._rows = rows
        self._traced = traced
        """Whether statements write guard rows by the trace that they name."""

    def under_way(self, branch: BranchId) -> bool:
        """Whether the application has not answered this try yet."""
        known = self._known.get(branch)
        return known is not None and not known.over.is_set()

    async def exists(self, xid: Xid) -> None:
        """Return if the transaction is known.

        Raises:
            NotLetThroughError: it is not, or the store does not say.
        """
        try:
            await insist(lambda: self._store.read(xid), self._wait_seconds)
        except StoreError as error:
            raise _refused(error) from error

    def let_through(self, xid: Xid, route: Route, path: str, request: Request, key: str) -> LetThrough:
        """Register the branch of a try, durable on entry; leave when the application has answered.

        A repeat of a try that was answered enters with the answer and must not be passed on. Entry raises
        `NotLetThroughError` when it must not be passed on; the status and the reason are the caller's.
        """
        return LetThrough(self, xid, route, path, request, key)

    async def enter(self, xid: Xid, route: Route, path: str, request: Request, key: str) -> tuple[Try, bool]:
        """The try that this one is, and whether it is the first of its key."""
        token, fingerprint = secrets.token_hex(16), b""
        by = f"{self._pod}/{token[16:]}"
        if key:
            branch = mode.branch_id(xid, self._app, route.name, f"key {key}")
            fingerprint = hashlib.sha256(repr(request).encode()).digest()
            known = await self._first(branch, fingerprint, route)
            if known is not None:
                if known.answer is None:
                    await self._enter(known, route, path, request, by)
                return known, False
        else:
            branch = mode.new_branch_id(xid, self._app, route.name, token)
        this = self._remember(Try(branch, bool(key), fingerprint))
        try:
            await self._enter(this, route, path, request, by)
        except BaseException:
            self.leave(this)
            self._known.pop(branch, None)  # it was not let through, so its repeat is the first one
            raise
        return this, True

    def leave(self, this: Try) -> None:
        """The application has answered it, or never will."""
        this.over.set()
        if not this.keyed:
            self._known.pop(this.id, None)

    async def _first(self, branch: BranchId, fingerprint: bytes, route: Route) -> Try | None:
        """The guarded try that this one repeats, when it is over; None: there is none that was let through.

        Raises:
            NotLetThroughError: it was another request, or it takes too long.
        """
        if route.tries is None or not route.tries.guarded:
            return None
        while (known := self._known.get(branch)) is not None:
            await _first_over(known, fingerprint, route.timeout.total_seconds())
            if known.answer is not None or self._known.get(branch) is known:
                return known
        return None

    async def _enter(self, this: Try, route: Route, path: str, request: Request, by: str) -> None:
        """Register a try, or find that it was done before: then it has that answer on return."""
        try:
            await self._register(this, route, path, request, by)
        except UnknownTryError:
            if not await self._was_done(Guarded.of(this.id, operation_of(route))):
                raise
            await self.completed(this, route)
            this.answer = done_before()

    async def _was_done(self, call: Guarded) -> bool:
        """Whether its guard row says so, and tells all."""
        torn = self._guards is not None and self._guards.is_torn(call)
        return not torn and self._rows is not None and await self._rows.done(call)

    async def _register(self, this: Try, route: Route, path: str, request: Request, by: str) -> None:
        rules = route.tries
        if rules is None:  # a bug: only such routes have tries
            raise RuntimeError
        calls = calls_of(rules, route, path, request, by, traced=self._traced)
        try:
            stands = await insist(
                lambda: self._store.join(this.id, rules.mode, calls, started=rules.guarded),
                self._wait_seconds,
            )
            if rules.guarded:
                _same(calls, stands.calls)
                if not stands.started:
                    await insist(lambda: self._store.start(this.id), self._wait_seconds)
        except StoreError as error:
            self._metrics.joins.labels(reason_of(error)).inc()
            raise _refused(error) from error
        self._metrics.count(self._metrics.joins, "Joined")

    async def completed(self, this: Try, route: Route) -> None:
        """Note that a step was done, durable on return, if the order of completion is its order.

        Raises:
            NotLetThroughError: the store does not say, so that nobody knows the order.
        """
        if route.saga is None or route.saga.order is not Order.REVERSE:
            return
        try:
            await insist(lambda: self._store.complete(this.id), self._wait_seconds)
        except AlreadyDecidedError:
            return  # it is compensated with the first, if it is
        except StoreError as error:
            raise _refused(error, "the step was done, but its place is not known: roll back") from error

    def heard(self, this: Try, operation: Operation) -> None:
        """Note what a guard row has said of a try that the application has answered.

        Raises:
            NotLetThroughError: the try was taken back before it came, and was not done.
        """
        finding = Finding.FIRST if self._guards is None else self._guards.taken(this.id, operation)
        if finding is Finding.LATE:
            message = f"the {operation} was taken back before it came, and was not done"
            raise NotLetThroughError(409, Reason.ALREADY_DECIDED, message)
        this.repeated = finding is Finding.REPEATED

    def told(self, step: Guarded, status: int) -> Response | None:
        """What the caller of a declared saga's step is told instead of what its application has answered.

        None: its own answer. A step that was done keeps an answer that says so, because others may use it.
        """
        finding = Finding.FIRST if self._guards is None else self._guards.taken_of(step)
        if finding is Finding.LATE:
            message = f"the {step.operation} was taken back before it came, and was not done"
            return refusal(409, Reason.ALREADY_DECIDED, message)
        if finding not in DONE or status < HTTPStatus.BAD_REQUEST:
            return None
        return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, b"", CIMultiDict({FOUND_HEADER: str(finding)}))

    def _remember(self, this: Try) -> Try:
        if len(self._known) >= REMEMBERED_MAX:
            over = [key for key, each in self._known.items() if each.over.is_set()]
            for key in over[: REMEMBERED_MAX // 8]:
                del self._known[key]
        self._known[this.id] = this
        return this


def operation_of(route: Route) -> Operation:
    """What a route's requests ask the application for."""
    return Operation.TRY if route.saga is None else Operation.STEP


async def _first_over(known: Try, fingerprint: bytes, seconds: float) -> None:
    """Return when the first try of a key is over.

    Raises:
        NotLetThroughError: it was another request, or it takes too long.
    """
    if fingerprint != known.fingerprint:
        message = "the Idempotency-Key was used for another request of this transaction"
        raise NotLetThroughError(422, Reason.TRY_REPEATED, message)
    try:
        async with asyncio.timeout(seconds):
            await known.over.wait()
    except TimeoutError as error:
        message = "the first try of this Idempotency-Key is still under way"
        raise NotLetThroughError(409, Reason.TRY_REPEATED, message) from error


def _same(mine: Calls, stands: Calls | None) -> None:
    if stands is mine or stands == mine:
        return
    if stands is not None and stands.request != mine.request:
        message = "the Idempotency-Key was used for another request of this transaction"
        raise NotLetThroughError(422, Reason.TRY_REPEATED, message)
    message = (
        "a try of this Idempotency-Key went through another pod, or got no answer that is known here, "
        "and no guard row says that it was done; roll back"
    )
    raise UnknownTryError(message)


def _refused(error: StoreError, what: str = "the request was not let through") -> NotLetThroughError:
    reason = reason_of(error)
    return NotLetThroughError(_STATUSES.get(reason, 500), reason, f"{what}: {error}")
