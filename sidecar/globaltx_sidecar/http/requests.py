"""Requests with an id of their own: the same id is the same transaction, and gets the same answer.

The xid is made from the id, so that of two pods, or of a pod before and after its restart, only one can
begin it: the application never sees a request of an id twice. Who repeats it at the pod that passed it
on gets the answer that the first one got; elsewhere, or when that answer is not kept, the outcome is
told from the store (409). While the first is under way a repeat waits for it.

Only the head of a request is compared with the first one's: its body is streamed, not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError, UnknownTransactionError, XidTakenError
from globaltx.transaction.xid import Xid, xid_of_request
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.http.answers import refusal
from globaltx_sidecar.http.keeping import NotLetThroughError
from globaltx_sidecar.http.tries import REMEMBERED_MAX
from globaltx_sidecar.insist import insist

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route
    from globaltx.stores.base import Store
    from globaltx_sidecar.http.answers import Response
    from globaltx_sidecar.http.asked import Asked
    from globaltx_sidecar.http.headers import Headers
    from globaltx_sidecar.http.initiator import Initiated, Origin
    from globaltx_sidecar.http.tries import Answered

ID_LENGTH_MAX = 255
WAIT_SECONDS = 10.0
_CALLER = ("authorization", "cookie", "proxy-authorization")
"""What tells callers apart: nobody gets another's answer by guessing an id."""
_KEYS = ("x-api-key", "api-key")
"""The same, where it is there; without it an id is the xid that it always was."""


@dataclass(slots=True)
class Once:
    """A request that is passed on once; ``answer`` is set when it is over, if it can be kept."""

    xid: Xid
    fingerprint: bytes
    until: float
    over: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answered | None = None


class Requests:
    """The requests with ids that this sidecar has passed on, as long as transactions are kept."""

    def __init__(self, store: Store, origin: Origin, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._store = store
        self._origin = origin
        self._wait_seconds = wait_seconds
        self._now = asyncio.get_running_loop().time
        self._known: dict[Xid, Once] = {}

    def enter(self, asked: Asked, route: Route) -> tuple[Once | None, bool]:
        """Say which request this is, and whether it is a repeat; None for one without an id.

        Whoever enters first must `leave`.

        Raises:
            NotLetThroughError: the id is unusable, or was used for another request.
        """
        values = asked.request.headers.getall(route.request_id_header, []) if route.request_id_header else []
        if not values:
            return None, False
        xid, fingerprint = self._xid(asked, route, values), _fingerprint(asked)
        known = self._known.get(xid)
        if known is None or (known.over.is_set() and known.until < self._now()):
            until = self._now() + self._origin.ttl.total_seconds()
            return self._remember(Once(xid, fingerprint, until)), False
        if known.fingerprint != fingerprint:
            message = f"this {route.request_id_header} was used for another request"
            raise NotLetThroughError(422, Reason.REQUEST_REPEATED, message)
        return known, True

    def leave(self, once: Once, answer: Answered | None) -> None:
        """Note that the first one is over; without an answer its repeats ask the store."""
        once.answer = answer
        once.over.set()
        if answer is None:
            self._known.pop(once.xid, None)

    async def answer_of(self, once: Once, route: Route) -> Answered | Response:
        """What a repeat is told: the first one's answer, or else what the store knows."""
        try:
            async with asyncio.timeout(route.timeout.total_seconds()):
                await once.over.wait()
        except TimeoutError:
            message = "the first request of this id is still under way; ask again later"
            return refusal(409, Reason.REQUEST_REPEATED, message, xid=once.xid)
        return once.answer or await self._told(once.xid)

    async def begun(self, initiated: Initiated) -> Response | None:
        """Wait until the transaction has begun; return what the client is told if it may not go on."""
        failed = await asyncio.shield(initiated.begun)
        if failed is None:
            return None
        if isinstance(failed, XidTakenError):
            return await self._told(initiated.xid)
        message = f"the request was not let through: {failed}"
        return refusal(503, reason_of(failed), message, xid=initiated.xid)

    async def _told(self, xid: Xid) -> Response:
        try:
            found = (await insist(lambda: self._store.read(xid), self._wait_seconds)).transaction
        except UnknownTransactionError:
            message = "a request of this id was not let through, or was forgotten; send it again"
            return refusal(503, Reason.REQUEST_REPEATED, message)
        except StoreError as error:
            message = f"what became of this request is not known: {error}"
            return refusal(503, reason_of(error), message, xid=xid)
        if found.decision is None:
            message = "a request of this id is under way elsewhere, or is rolled back at its deadline"
            return refusal(409, Reason.REQUEST_REPEATED, message, xid=xid)
        message = "a request of this id has ended before; its answer is not kept here"
        outcome = found.decision.outcome
        return refusal(409, Reason.REQUEST_REPEATED, message, xid=xid, outcome=outcome)

    def _xid(self, asked: Asked, route: Route, values: list[str]) -> Xid:
        (value,) = values if len(values) == 1 else ("",)
        if not 0 < len(value) <= ID_LENGTH_MAX or not value.isascii():
            message = (
                f"{route.request_id_header} must be there once, of 1 to {ID_LENGTH_MAX} ASCII characters"
            )
            raise NotLetThroughError(400, Reason.REQUEST_NOT_SUPPORTED, message)
        caller = _caller(asked.request.headers)
        return xid_of_request(self._origin.namespace, self._origin.app, route.name, caller, value)

    def _remember(self, once: Once) -> Once:
        if len(self._known) >= REMEMBERED_MAX:
            over = [xid for xid, each in self._known.items() if each.over.is_set()]
            for xid in over[: REMEMBERED_MAX // 8]:
                del self._known[xid]
        self._known[once.xid] = once
        return once


def _caller(headers: Headers) -> str:
    names = (*_CALLER, *(name for name in _KEYS if name in headers))
    return repr([headers.getall(name, []) for name in names])


def _fingerprint(asked: Asked) -> bytes:
    headers = asked.request.headers
    parts = (asked.request.method, asked.target, headers.get("content-length"), headers.get("content-type"))
    return hashlib.sha256(repr(parts).encode()).digest()
