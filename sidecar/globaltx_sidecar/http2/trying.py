"""A unary call of gRPC that is a try or a step: its branch is durable before the application sees it.

The call is kept whole, to be made again as confirm, cancel or compensation, and its answer is held back
until it is whole, because gRPC says at its end how it went.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from multidict import CIMultiDict

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.http.filter import written_path
from globaltx_sidecar.http.keeping import NotLetThroughError, kept, key_of, too_large
from globaltx_sidecar.http.outcomes import late
from globaltx_sidecar.http.proxy import contain
from globaltx_sidecar.http.tries import ANSWER_BYTES_MAX, Answered, done_before, operation_of
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.http1.heads import as_text, encoded
from globaltx_sidecar.http2.answers import GRPC_OK, OK
from globaltx_sidecar.http2.conduct import Held
from globaltx_sidecar.http2.metadata import NOTHING, is_one_message
from globaltx_sidecar.http2.outbox import Data, Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Route
    from globaltx.modes.tcc import Operation
    from globaltx.transaction.calls import Request as Kept
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.tries import Tries, Try
    from globaltx_sidecar.http1.heads import Pairs
    from globaltx_sidecar.http2.metadata import Request

_ALWAYS_KEPT = ("content-type", "grpc-encoding")
"""Without these the application could not read the message again."""


class Client(Protocol):
    """Who waits for the answer."""

    def let_through(self, branch: BranchId, operation: Operation) -> None:
        """The branch is durable: pass the call on."""

    def decided(self, refused: Refusal | None) -> None:
        """Give the answer that is held back, or this instead."""

    def repeated(self, items: Iterable[Head | Data]) -> None:
        """Give this answer."""


def unsupported(route: Route, request: Request) -> str:
    """Why a request over HTTP/2 cannot be a try or a step; empty if it can."""
    if not request.grpc:
        return (
            f"route {route.name!r} makes branches of its requests, which over HTTP/2 are calls of gRPC; "
            "send other requests over HTTP/1.1"
        )
    return ""


class Trying(Held):
    """One of them, on its way."""

    def __init__(self, route: Route, xid: Xid, request: Request) -> None:
        super().__init__(grpc=True)
        self._route = route
        self._xid = xid
        self._request = request
        self._key = ""
        """What tells its repeats from others; empty: there are none."""
        self._message = bytearray()
        self._whole = asyncio.Event()
        self._given = Answered(200, "", CIMultiDict(), b"")

    # What the client sends.

    def asked(self, data: bytes, *, end: bool) -> None:
        """A part of the call has come; it waits until its branch is durable."""
        self._message += data
        if len(self._message) > BODY_BYTES_MAX:
            self.lost(too_large())
        elif end:
            self._whole.set()

    def lost(self, error: UpstreamError) -> None:
        """See `Held`."""
        super().lost(error)
        self._whole.set()

    # What the application sends.

    def head(self, pairs: Iterable[tuple[bytes, bytes]], *, end: bool) -> None:
        """See `Held`."""
        super().head(pairs, end=end)
        self._given.headers.extend(as_text(pairs))

    def body(self, data: bytes) -> None:
        """See `Held`."""
        super().body(data)
        if self._key and self._held <= ANSWER_BYTES_MAX:
            self._given.body += data

    def trailers(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """See `Held`."""
        super().trailers(pairs)
        self._given.trailers.extend(as_text(pairs))

    # What becomes of it.

    async def conduct(self, tries: Tries, client: Client) -> None:
        """Carry the call from its first byte to its answer."""
        self._give(await contain(self._carry(tries, client)), client)

    def _give(self, result: Refusal | Answered | Exception | None, client: Client) -> None:
        """Let the client have what came of it."""
        if isinstance(result, Answered):
            client.repeated(sent(result))
        elif isinstance(result, Exception):
            client.decided(Refusal(500, Reason.STORE_REFUSED, repr(result)))
        else:
            client.decided(result)
        if not self._answered.cancel() and not self._answered.cancelled():
            self._answered.exception()  # nobody else asks for it

    async def _carry(self, tries: Tries, client: Client) -> Refusal | Answered | None:
        """Return what the client is told instead of the application's answer; None if it gets that."""
        try:
            self._key = key_of(self._request.headers)
            async with asyncio.timeout(self._route.timeout.total_seconds()):
                return await self._tried(tries, client)
        except UpstreamError as error:
            return Refusal(error.status, error.reason, str(error))
        except TimeoutError:
            return Refusal(504, Reason.APPLICATION_UNAVAILABLE, late(self._route))

    async def _tried(self, tries: Tries, client: Client) -> Answered | None:
        await self._whole.wait()
        self._check_client()
        return await self._try(tries, client)

    async def _try(self, tries: Tries, client: Client) -> Answered | None:
        target = self._request.target
        request = self._kept(target)
        async with tries.let_through(
            self._xid, self._route, written_path(target), request, self._key
        ) as this:
            if this.answer is not None:
                return this.answer
            self._check_client()
            client.let_through(this.id, operation_of(self._route))
            await self._answered
            return await self._judged(tries, this)

    async def _judged(self, tries: Tries, this: Try) -> Answered | None:
        tries.heard(this, operation_of(self._route))
        done = (self._status, self._grpc_status) == (OK, GRPC_OK)
        if done or this.repeated:
            await tries.completed(this, self._route)
        if this.repeated and not done:
            this.answer = done_before()
            return this.answer
        if self._key and self._held <= ANSWER_BYTES_MAX:
            this.answer = self._given
        return None

    def _kept(self, target: str) -> Kept:
        names = self._route.tries.headers if self._route.tries else ()
        names = (*names, *(each for each in _ALWAYS_KEPT if each not in names))
        if not is_one_message(self._message):
            why = "a call of gRPC that is a try or a step must be unary: one message, and no more"
            raise NotLetThroughError(501, Reason.REQUEST_NOT_SUPPORTED, why)
        message = bytes(self._message)
        self._message.clear()
        return kept(self._request.method, target, self._request.headers, message, names)

    def _check_client(self) -> None:
        """Return if the client still waits.

        Raises:
            UpstreamError: it does not, or has sent too much.
        """
        if self._answered.done():
            self._answered.result()


def sent(answer: Answered) -> list[Head | Data]:
    """An answer that is given again, or (one without anything) that of a call that was done before."""
    if not answer.headers:
        pairs = [(b":status", OK.encode()), (b"content-type", b"application/grpc")]
        return [Head(pairs), Data(NOTHING), Head([(b"grpc-status", GRPC_OK.encode())], end=True)]
    items: list[Head | Data] = [Head(_pairs(answer.headers))]
    items += [Data(answer.body)] if answer.body else []
    items += [Head(_pairs(answer.trailers))] if answer.trailers else []
    items[-1].end = True
    return items


def _pairs(headers: CIMultiDict[str]) -> Pairs:
    return [(encoded(name), encoded(value)) for name, value in headers.items()]
