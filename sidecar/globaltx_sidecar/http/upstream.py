"""The application behind the proxy: sends it requests, streams bodies both ways, names its failures."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self, TypeVar

from globaltx.coordinator.reasons import Reason
from globaltx_sidecar.http.headers import OF_TRANSACTIONS
from globaltx_sidecar.http1 import heads
from globaltx_sidecar.http1.body import BrokenError
from globaltx_sidecar.http1.call import IDEMPOTENT, Call
from globaltx_sidecar.http1.heads import NotSendableError, as_text, chunk, folded, last_chunk, request_head
from globaltx_sidecar.http1.lost import LostError, SilentError
from globaltx_sidecar.traces import PARENT_HEADER, STATE_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

    from multidict import CIMultiDict

    from globaltx_sidecar.http.asked import Asked
    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.connection import Connection, Passage, Reply
    from globaltx_sidecar.http1.heads import Pairs
    from globaltx_sidecar.http1.pool import Pool
    from globaltx_sidecar.http2.calling import Answer
    from globaltx_sidecar.http2.lines import Lines

T = TypeVar("T")

CONNECT_SECONDS = 5.0
READ_SECONDS = 3600.0
"""How long an answer may be silent. Long: the client and the application have their own ideas."""
IDLE_SECONDS = 1.0
"""How long an idle connection is kept. Short, so that the application's own idle timeout (2 s and
more in the usual servers) never closes a connection under a request that cannot be repeated."""

NEVER_IN_TRAILERS = heads.NEVER_IN_TRAILERS | OF_TRANSACTIONS | {PARENT_HEADER, STATE_HEADER}


class UpstreamError(Exception):
    """The application gave no whole answer; ``status`` is what a client is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = Reason.APPLICATION_UNAVAILABLE


class BrokenRequestError(UpstreamError):
    """The request did not come whole, so that it has no answer; its client is told, if it is there."""

    def __init__(self, error: BrokenError) -> None:
        super().__init__(error.status, f"the request's body broke off: {error}")
        self.reason = Reason.REQUEST_NOT_SUPPORTED


class Upstream:
    """The application's port on loopback; an async context that owns the connections to it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.address = f"{host}:{port}"
        self._pool: Pool | None = None
        self._lines: Lines | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._pool is not None:
            await self._pool.close()

    async def send(
        self,
        asked: Asked,
        body: bytes | None = None,
        announce: Callable[[Head], None] | None = None,
    ) -> Reply:
        """Pass a request on and return the answer's head; its body is still to be read.

        ``body`` is the request's body where it was read already; ``announce`` is told of answers 1xx before.

        Raises:
            UpstreamError: there is no answer.
        """
        whole = asked.as_it_came()
        call = self._written(asked, body) if whole is None else Call(asked.request.method, whole)
        call.upgrade, call.announce = asked.upgrade, announce
        return await self._send(call)

    def _written(self, asked: Asked, body: bytes | None) -> Call:
        """A request whose head is written anew."""
        request, headers = asked.request, asked.headers
        streamed, chunked = None, False
        trailers: Pairs = []
        if body is None and request.has_body:
            chunked = "Content-Length" not in headers
            if request.body.ended:
                body, trailers = request.body.take(), request.body.trailers
            else:
                streamed = request.body
        elif body is not None and request.body.trailers:
            chunked, trailers = True, request.body.trailers  # there is no other place for them
        call = self._call(request.method, asked.target, headers, body, chunked=chunked, trailers=trailers)
        call.streamed = streamed
        return call

    def pass_on(self, method: str, data: bytes, passage: Passage) -> bool:
        """Pass a request on as it came, with nobody waiting for its answer; False: no connection is kept."""
        return self._pool is not None and self._pool.pass_on(method, data, passage)

    async def answer_of(
        self, connection: Connection, answer: asyncio.Future[Reply], method: str
    ) -> Reply | None:
        """Wait for the answer to what was passed on as it came; None: it was not read, and may be sent again.

        Raises:
            UpstreamError: there is no answer.
        """
        from globaltx_sidecar.http1.pool import awaited  # noqa: PLC0415  see `_pooled`

        try:
            return await awaited(connection, answer)
        except LostError as error:
            if error.untouched and method in IDEMPOTENT:
                return None
            raise self._unanswered(error) from error

    async def call(
        self, method: str, target: str, headers: CIMultiDict[str], body: bytes, seconds: float
    ) -> int:
        """Make a call of our own and return the status of its answer, whose body is of no interest.

        Raises:
            UpstreamError: there is no answer within the time.
        """
        reply = await self._within(seconds, self._send(self._call(method, target, headers, body)))
        reply.close()
        return reply.status

    async def call_grpc(
        self, target: str, headers: CIMultiDict[str], message: bytes, seconds: float
    ) -> Answer:
        """Make a unary call of gRPC of our own; ``message`` has its prefix.

        Raises:
            UpstreamError: there is no answer within the time.
        """
        if self._lines is None:
            from globaltx_sidecar.http2.lines import Lines  # noqa: PLC0415  only where there is gRPC

            self._lines = Lines()
        calling = self._lines.call(self.address, target, headers, message, seconds)
        try:
            return await self._within(seconds, calling)
        except OSError as error:
            said = f"the application at {self.address} gave no answer: {told(error)}"
            raise UpstreamError(502, said) from error

    async def chunks(self, reply: Reply) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes in.

        Raises:
            UpstreamError: the body broke off.
        """
        try:
            async for piece in reply.body.pieces():
                yield piece
        except LostError as error:
            message = f"the application at {self.address} broke off its answer: {error}"
            raise UpstreamError(502, message) from error

    def _call(
        self,
        method: str,
        target: str,
        headers: CIMultiDict[str],
        body: bytes | None,
        *,
        chunked: bool = False,
        trailers: Iterable[tuple[bytes, bytes]] = (),
    ) -> Call:
        """A request as it goes on the wire, with the headers that say how its body ends.

        Without a body one may follow; ``chunked``: in chunks.
        """
        if "Host" not in headers:
            headers["Host"] = self.address
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
            if body is not None:
                body = (body and chunk(body)) + last_chunk(passed_on(trailers))
        else:
            headers.popall("Trailer", None)  # there is no place for any
            if body is not None:
                headers["Content-Length"] = str(len(body))
        try:
            head = request_head(method, target.partition("#")[0], headers)
        except NotSendableError as error:
            message = f"the request cannot be passed on to the application at {self.address}: {error}"
            raise UpstreamError(502, message) from error
        return Call(method, head, body or b"", chunked=chunked, trailers=passed_on)

    async def _within(self, seconds: float, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError as error:
            message = f"the application at {self.address} did not answer within {seconds:g} s"
            raise UpstreamError(504, message) from error

    async def _send(self, call: Call) -> Reply:
        try:
            return await self._pooled().send(call, self.address)
        except LostError as error:
            raise self._unanswered(error) from error
        except OSError as error:
            message = f"the application at {self.address} takes no connection: {told(error)}"
            raise UpstreamError(502, message) from error

    def _unanswered(self, error: LostError) -> UpstreamError:
        if isinstance(error, SilentError):
            return UpstreamError(504, f"the application at {self.address} did not answer in time")
        if isinstance(error.__cause__, BrokenError):
            return BrokenRequestError(error.__cause__)
        return UpstreamError(502, f"the application at {self.address} gave no answer: {error}")

    def _pooled(self) -> Pool:
        if self._pool is None:
            from globaltx_sidecar.http1.pool import Pool  # noqa: PLC0415  a sidecar at rest needs no parser

            self._pool = Pool(IDLE_SECONDS, CONNECT_SECONDS, READ_SECONDS)
        return self._pool


def passed_on(trailers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """A request's trailers as they go on: nothing in them may say which transaction it is of."""
    return [(name, value) for name, value in as_text(trailers) if folded(name) not in NEVER_IN_TRAILERS]


def told(error: Exception) -> str:
    """What an error says, or its kind when it says nothing."""
    said = error.strerror if isinstance(error, OSError) else ""
    return said or str(error) or type(error).__name__
