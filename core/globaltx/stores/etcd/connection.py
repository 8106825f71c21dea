"""A connection to a member of etcd: one request at a time, its answer whole or piece by piece."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from globaltx.stores.etcd.wire import AnswerError, AnswerReader

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

HELD_BYTES_MAX = 1024 * 1024
"""What may wait for a slow reader of a lasting answer before the peer is no longer listened to."""


class Connection(asyncio.Protocol):
    """Made by `connect`; whoever asks owns it until the answer is whole.

    Asking raises ``ConnectionError`` when it is lost, and ``AnswerError`` when what comes is no answer.
    It is of no use afterwards (``usable``), nor when the asking was cancelled.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.context = context
        self.idle_since = 0.0
        self.closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._bytes_max = 0
        self._held = 0
        self._paused = False
        self._failure: Exception | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._failure is None and self._reader is None and not self.closed.done()

    @property
    def listens(self) -> bool:
        """Whether more is taken from the peer."""
        return not self._paused and not self.closed.done()

    @property
    def held(self) -> int:
        """How many bytes of a lasting answer wait to be taken."""
        return self._held

    def socket(self) -> Any:
        """The socket of it, to look at its options."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def abort(self) -> None:
        """Drop it at once."""
        self._fail(ConnectionAbortedError("the connection was closed"))

    async def ask(self, request: bytes, bytes_max: int) -> tuple[int, bytes]:
        """Send a request and give status and body of its answer."""
        reader = self._send(request, bytes_max)
        try:
            while not reader.ended:
                await self._more()
        except BaseException:
            self.abort()
            raise
        self._done(reader)
        return reader.status, b"".join(reader.pieces)

    async def status(self, request: bytes) -> int:
        """Send a request that has a lasting answer, and give its status; `pieces` gives the body."""
        reader = self._send(request, 0)
        while not reader.status:
            await self._more()
        return reader.status

    async def pieces(self, silence: float) -> AsyncGenerator[bytes, None]:
        """Yield a lasting answer's body as it comes, until its end.

        Raises:
            TimeoutError: nothing came for so many seconds.
        """
        reader = self._reader
        while reader is not None:
            for piece in self._taken(reader):
                yield piece
            if reader.ended:
                break
            async with asyncio.timeout(silence):
                await self._more()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Read on (asyncio.Protocol)."""
        if self._reader is None:
            self._fail(AnswerError("the member spoke without being asked"))
            return
        self._held += len(data)
        try:
            self._reader.feed(data)
        except AnswerError as error:
            self._fail(error)
            return
        if self._bytes_max and self._held > self._bytes_max:
            self._fail(AnswerError(f"an answer is longer than {self._bytes_max} bytes"))
        elif not self._bytes_max and self._held > HELD_BYTES_MAX and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End (asyncio.Protocol)."""
        if exc is None and self._reader is not None and self._failure is None:
            try:
                self._reader.end()
            except AnswerError as error:
                exc = error
        if self._reader is None or not self._reader.ended:
            self._failure = self._failure or exc or ConnectionResetError("the connection was closed")
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    def _send(self, request: bytes, bytes_max: int) -> AnswerReader:
        if self._failure is not None or self._transport is None:
            raise self._failure or ConnectionResetError("the connection is not open")
        self._reader, self._bytes_max, self._held = AnswerReader(), bytes_max, 0
        self._transport.write(request)
        return self._reader

    async def _more(self) -> None:
        """Wait until something has come."""
        if self._failure is not None:
            raise self._failure
        self._changed = asyncio.get_running_loop().create_future()
        try:
            await self._changed
        finally:
            self._changed = None
        if self._failure is not None:
            raise self._failure

    def _taken(self, reader: AnswerReader) -> list[bytes]:
        pieces, reader.pieces, self._held = reader.pieces, [], 0
        if self._paused and self._transport is not None and self._failure is None:
            self._paused = False
            self._transport.resume_reading()
        return pieces

    def _done(self, reader: AnswerReader) -> None:
        self._reader = None
        if not reader.keeps:
            self.abort()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


async def connect(host: str, port: int, context: ssl.SSLContext | None, within: float) -> Connection:
    """Open a connection, TCP and TLS within ``within`` seconds; small writes go out at once.

    Raises:
        OSError: it could not be opened (also ``TimeoutError`` and TLS's errors).
    """
    loop = asyncio.get_running_loop()
    name = host if context is not None else None
    async with asyncio.timeout(within):
        _, made = await loop.create_connection(
            lambda: Connection(context), host, port, ssl=context, server_hostname=name
        )
    return made
