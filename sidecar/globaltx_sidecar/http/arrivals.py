"""Connections that have just come: their first bytes say whether they speak HTTP/1.1 or HTTP/2.

A client that knows that the server speaks HTTP/2 begins with a preface that is no request of HTTP/1.1
(https://www.rfc-editor.org/rfc/rfc9113#section-3.4). What reads either is loaded when the first one comes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from globaltx.coordinator.reasons import Reason
from globaltx.http2_frames import PREFACE
from globaltx_sidecar.http.answers import refusal

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http.proxy import Proxy
    from globaltx_sidecar.http1.requests import MalformedError
    from globaltx_sidecar.http1.server import Http1Server
    from globaltx_sidecar.http2.door import Door


WAITING_MAX = 1024
"""How many connections may have said nothing yet; one more takes the place of the oldest."""


class Arrivals:
    """Makes the protocol of each connection; a factory for `asyncio.loop.create_server`."""

    def __init__(self, proxy: Proxy, patience: float) -> None:
        self._proxy = proxy
        self._http1: Http1Server | None = None
        self._patience = patience
        self._door: Door | None = None
        self._waiting: dict[_Arrival, None] = {}
        self._leaving = False
        self._loop = asyncio.get_running_loop()
        proxy.changed = self._changed

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Arrival(self)

    def leave(self) -> None:
        """Take no more requests, and no connections that have said nothing yet."""
        self._leaving = True
        for each in tuple(self._waiting):
            each.abort()
        if self._http1 is not None:
            self._http1.leave()
        if self._door is not None:
            self._door.leave()

    async def close(self) -> None:
        """Close all connections."""
        if self._door is not None:
            self._door.abort()
        if self._http1 is not None:
            await self._http1.close()

    def came(self, arrival: _Arrival) -> asyncio.TimerHandle:
        """A connection was made; it is closed if it says nothing for long."""
        if len(self._waiting) >= WAITING_MAX:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.abort()
        self._waiting[arrival] = None
        return self._loop.call_later(self._patience, arrival.abort)

    def left(self, arrival: _Arrival) -> None:
        """A connection is known for what it is, or gone."""
        self._waiting.pop(arrival, None)

    def speaks_http1(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Hand a connection on."""
        if self._leaving:
            transport.abort()
            return
        if self._http1 is None:
            from globaltx_sidecar.http1.server import Http1Server  # noqa: PLC0415  a sidecar at rest needs none

            self._http1 = Http1Server(self._proxy.handle, self._proxy.pass_on, malformed, self._patience)
        self._http1.enter(transport, begun)

    def speaks_http2(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Hand a connection on."""
        if self._leaving:
            transport.abort()
            return
        if self._door is None:
            from globaltx_sidecar.http2.door import Door  # noqa: PLC0415  1.3 MiB that few need

            self._door = Door(self._proxy)
        self._door.enter(transport, begun)

    def _changed(self) -> None:
        if self._door is not None:
            self._door.changed()


def malformed(error: MalformedError) -> tuple[CIMultiDict[str], bytes]:
    """What a client is told of that which is no request."""
    told = refusal(error.status, Reason.REQUEST_NOT_SUPPORTED, f"this cannot be passed on: {error}")
    return told.headers, told.body


class _Arrival(asyncio.Protocol):
    """A connection of which too little was read to know what it speaks."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._begun = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = self._arrivals.came(self)

    def data_received(self, data: bytes) -> None:
        self._begun += data
        if self._transport is None:
            return
        if self._begun.startswith(PREFACE):
            self._forget()
            self._arrivals.speaks_http2(self._transport, self._begun)
        elif not PREFACE.startswith(self._begun):
            self._forget()
            self._arrivals.speaks_http1(self._transport, self._begun)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._forget()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        self._arrivals.left(self)
        if self._timer is not None:
            self._timer.cancel()
