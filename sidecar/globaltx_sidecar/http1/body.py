"""A body as it comes in: who does not take it is waited for, by not reading on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from globaltx_sidecar.http1.heads import Pairs

BYTES_MAX = 64 * 1024
"""How much waits to be taken before no more is read; what one read brings comes on top."""


class BrokenError(Exception):
    """A request's body does not come whole; ``status`` is what the client is told, if it is there."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Body:
    """Pieces in their order, from the one that feeds it to the one that takes them."""

    __slots__ = (
        "_error",
        "_paused",
        "_pieces",
        "_size",
        "_transport",
        "_unwanted",
        "_waiter",
        "ended",
        "trailers",
    )

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport: asyncio.Transport | None = transport
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = self._unwanted = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.ended = False
        """Whether all of it has come, taken or not."""
        self.trailers: Pairs = []

    @property
    def at_eof(self) -> bool:
        """Whether all of it has come and was taken."""
        return self.ended and not self._pieces

    @property
    def begun(self) -> bool:
        """Whether something has come that was not taken."""
        return bool(self._pieces)

    @property
    def waits(self) -> bool:
        """Whether nothing is read, because what has come is not taken."""
        return self._paused

    def feed(self, data: bytes) -> None:
        """A piece has come."""
        if self._unwanted:
            return
        self._pieces.append(data)
        self._size += len(data)
        transport = self._transport
        if self._size > BYTES_MAX and not self._paused and transport and not transport.is_closing():
            self._paused = True
            transport.pause_reading()
        self._wake()

    def end(self, trailers: Pairs) -> None:
        """All has come; the connection is no longer this body's."""
        self.ended, self.trailers = True, trailers
        self._resume()
        self._transport = None
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come; what has come is not taken any more."""
        if not self.ended:
            self._error = self._error or error
            self._transport = None
            self._wake()

    def discard(self) -> None:
        """Want nothing of what has come, and of what is to come."""
        self._unwanted = True
        self.take()

    def take(self) -> bytes:
        """All that has come and was not taken yet."""
        data = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        self._resume()
        return data

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Take the pieces as they come; one at a time may do so.

        Raises:
            Exception: what `fail` was called with.
        """
        while True:
            while not self._pieces:
                if self._error is not None:
                    raise self._error
                if self.ended:
                    return
                await self._more()
            yield self.take()

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
