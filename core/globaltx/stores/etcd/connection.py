"""A connection to a member of etcd: any number of calls at the same time, which end, or last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from globaltx.http2_frames import PeerError
from globaltx.stores.etcd.http2 import Conversation

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from globaltx.stores.etcd.calls import Call

PONG_SECONDS = 0.25
"""How long the answer to a ping waits for others to go with.

A member asks how far away we are with whatever it gets, unless it still waits to hear that: answered at
once, each call would cost a frame each way more. It takes us for lost after tens of seconds only.
"""
UNSENT_BYTES_MAX = 64 << 20
"""What may wait for a peer that does not read."""


class Connection(asyncio.Protocol):
    """Made by `connect`.

    A call raises ``ConnectionError`` when the connection is lost, and ``PeerError`` when what comes is no
    HTTP/2 or no gRPC; then no call is possible any more (``usable``). How a call has ended is its ``status``.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.context = context
        self.heard_at = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._talk = Conversation()
        self._failure: Exception | None = None
        self._waiting: dict[int, Callable[[], None]] = {}
        self._retired = False
        self._flushing: asyncio.Handle | None = None
        self._pong: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether another call can begin."""
        return self._failure is None and not self._retired and self._talk.usable

    @property
    def failure(self) -> Exception | None:
        """Why no call is possible any more."""
        return self._failure

    def socket(self) -> Any:
        """The socket of it, to look at its options."""
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def abort(self) -> None:
        """Drop it at once."""
        self._fail(ConnectionAbortedError("the connection was closed"))

    def retire(self) -> None:
        """Begin no call any more, and close once the last one has ended."""
        self._retired = True
        self._close_if_done()

    async def ask(self, block: bytes, request: bytes, bytes_max: int) -> Call:
        """Do a call that has one answer, and wait for its end; who is cancelled lets it be."""
        call = self.begin(block, request, bytes_max)
        try:
            while call.status is None:
                await self._change(call)
        finally:
            self.leave(call)
        return call

    def begin(self, block: bytes, request: bytes, bytes_max: int, *, lasts: bool = False) -> Call:
        """Begin a call; `next` gives its messages, and whoever began it must `leave` it."""
        if self._failure is not None or not self._talk.usable:
            raise self._failure or ConnectionResetError("the member takes no more calls on this connection")
        call = self._talk.begin(block, request, bytes_max, lasts=lasts)
        self._flush()
        return call

    async def next(self, call: Call) -> bytes | None:
        """The next message of a call that lasts, once it comes; None when the call has ended."""
        while (found := self._talk.next(call)) is None:
            if call.status is not None:
                return None
            await self._change(call)
        self._flush()
        return found

    def tell(self, call: Call, changed: Callable[[], None]) -> None:
        """Have this called when a call has ended or got a message, or the connection was lost."""
        self._waiting[call.number] = changed

    def leave(self, call: Call) -> None:
        """Let a call be, whether it has ended or not."""
        self._waiting.pop(call.number, None)
        self._talk.leave(call)
        self._flush()
        self._close_if_done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio.Protocol)."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Read on (asyncio.Protocol)."""
        self.heard_at = self._loop.time()
        try:
            changed = self._talk.feed(data)
        except PeerError as error:
            self._fail(error)
            return
        self._flush()
        for call in changed:
            self._wake(call.number)
        if self._talk.leaving:
            self._close_if_done()

    def connection_lost(self, exc: Exception | None) -> None:
        """End (asyncio.Protocol)."""
        lost: Exception = exc or ConnectionResetError("the connection was closed")
        if self.context is not None and not self._talk.greeted:
            # Its alert is often lost, since we had written already: TLS 1.3 refuses after the handshake.
            lost = ConnectionResetError(f"{lost}, before it said a word: it may ask for a client certificate")
        self._failure = self._failure or lost
        if self._pong is not None:
            self._pong.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        for number in tuple(self._waiting):
            self._wake(number)

    async def _change(self, call: Call) -> None:
        """Wait until something has become of a call."""
        if self._failure is not None:
            raise self._failure
        waiting = self._loop.create_future()
        self.tell(call, lambda: None if waiting.done() else waiting.set_result(None))
        try:
            await waiting
        finally:
            self._waiting.pop(call.number, None)
        if call.status is None and self._failure is not None:
            raise self._failure

    def _wake(self, number: int) -> None:
        if (changed := self._waiting.get(number)) is not None:
            changed()

    def _flush(self) -> None:
        """Send what there is to say once all that is ready to run has run: a write costs more than a call."""
        if self._flushing is not None:
            return
        if self._talk.has_to_say or (self._pong is None and self._talk.owes_pongs):
            self._flushing = self._loop.call_soon(self._write)

    def _write(self, *, pongs: bool = False) -> None:
        self._flushing = None
        if self._transport is None or self._failure is not None:
            return
        if out := self._talk.take(pongs=pongs):
            self._transport.write(out)
            if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
                self._fail(PeerError("it does not read what it is sent"))
        if self._talk.owes_pongs and self._pong is None:
            self._pong = self._loop.call_later(PONG_SECONDS, self._answer_pings)

    def _answer_pings(self) -> None:
        self._pong = None
        self._write(pongs=True)

    def _close_if_done(self) -> None:
        if (self._retired or self._talk.leaving) and not self._talk.calls and self._transport is not None:
            self._fail(ConnectionResetError("the connection was closed, since the member goes away"))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        if self._transport is not None:
            self._transport.abort()
        for number in tuple(self._waiting):
            self._wake(number)


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
