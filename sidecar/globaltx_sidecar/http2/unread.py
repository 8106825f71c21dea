"""Connections of which nothing is to be known: bytes go both ways as they come.

Only where frames end in the application's answers is kept in mind, so that the client can be asked to come
again by another connection: because routes were added, or because this process stops.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from globaltx import http2_frames as frames
from globaltx_sidecar.http.upstream import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


class Boundaries:
    """Where frames begin and end in bytes that are not kept."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.reached = False
        """Whether what has come so far ends with a whole frame."""

    def last(self, data: bytes) -> int:
        """How many of these bytes belong to frames that are whole with them."""
        at, whole = 0, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
            else:
                at = self._read_head(data, at)
            if not self._left and not self._head:
                whole = at
        self.reached = not self._left and not self._head
        return whole

    def _read_head(self, data: bytes, at: int) -> int:
        taken = data[at : at + frames.HEAD_BYTES - len(self._head)]
        self._head += taken
        if len(self._head) == frames.HEAD_BYTES:
            self._left = int.from_bytes(self._head[:3], "big")
            self._head = b""
        return at + len(taken)


class _End(asyncio.Protocol):
    """One of the two connections."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self.transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None:
            self.other.send(data)

    def send(self, data: bytes) -> None:
        """Write what the other one has read."""
        if self.transport is not None:
            self.transport.write(data)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()


class _Client(_End):
    """The client's connection, which can be told to go when a frame has ended."""

    def __init__(self, lost: Callable[[], None]) -> None:
        super().__init__(lost)
        self._boundaries = Boundaries()
        self._goodbye = b""

    def send(self, data: bytes) -> None:
        """Write what the application says, and a goodbye in between."""
        whole = self._boundaries.last(data)
        if self._goodbye and whole:
            data = data[:whole] + self._goodbye + data[whole:]
            self._goodbye = b""
        super().send(data)

    def go_away(self) -> None:
        """Ask for no more requests, as soon as a frame has ended."""
        if self._boundaries.reached:
            super().send(frames.goaway())
        else:
            self._goodbye = frames.goaway()


class Unread:
    """The two connections; ``over`` is called when both are gone."""

    idle = False
    busy_at = 0.0

    def __init__(self, over: Callable[[Unread], None]) -> None:
        self._over = over
        self._leaving = False
        self.client = _Client(self._lost)
        self.application = _End(self._lost)

    async def run(self, host: str, port: int) -> None:
        """Connect to the application; until then nothing is read."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: self.application, host, port)
        except OSError:
            self.abort()  # a client of HTTP/2 takes that for unavailable
            self._over(self)
            return
        self.client.other, self.application.other = self.application, self.client
        if self.client.transport is None:
            self._lost()

    def leave(self) -> None:
        """Ask the client to come again by another connection."""
        if not self._leaving:
            self._leaving = True
            self.client.go_away()

    def abort(self) -> None:
        """Close both at once."""
        for end in (self.client, self.application):
            if end.transport is not None:
                end.transport.abort()

    def _lost(self) -> None:
        ends = (self.client, self.application)
        for end in ends:
            if end.transport is not None:
                end.transport.close()
        if all(end.transport is None for end in ends):
            self._over(self)
