"""Where connections of HTTP/2 come in: chooses what becomes of each, and ends them all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from globaltx.http2_frames import PREFACE
from globaltx_sidecar.http2.bridge import Bridge
from globaltx_sidecar.http2.exchange import Budget
from globaltx_sidecar.http2.unread import Unread

if TYPE_CHECKING:
    from globaltx_sidecar.http.proxy import Proxy

CONNECTIONS_MAX = 1024
IDLE_SECONDS = 630.0
"""How long a connection without requests may stay."""
LOOK_SECONDS = 60.0

Connection: TypeAlias = "Bridge | Unread"


class Door:
    """The connections of HTTP/2 that are open."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._budget = Budget()
        self._open: set[Connection] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Take a connection whose preface was read; ``begun`` is that and what came with it."""
        if len(self._open) >= CONNECTIONS_MAX:
            transport.abort()
            return
        host, _, port = self._proxy.upstream.address.rpartition(":")
        if self._proxy.reads_all:
            bridge = Bridge(self._proxy, self._budget, self._over)
            transport.set_protocol(bridge.client)
            bridge.client.connection_made(transport)
            bridge.client.start()
            self._keep(bridge)
            self._proxy.tasks.create_task(bridge.run(host, int(port)), name="HTTP/2 to the application")
            bridge.client.data_received(begun[len(PREFACE) :])
            return
        unread = Unread(self._over)
        transport.set_protocol(unread.client)
        unread.client.connection_made(transport)
        self._keep(unread)
        self._proxy.under_way.enter()
        self._proxy.tasks.create_task(self._pass_on(unread, host, int(port), begun), name="HTTP/2, unread")
        transport.pause_reading()

    async def _pass_on(self, unread: Unread, host: str, port: int, begun: bytes) -> None:
        await unread.run(host, port)
        unread.application.send(begun)
        if unread.client.transport is not None:
            unread.client.transport.resume_reading()

    def changed(self) -> None:
        """Routes were added or taken away: what is passed on unread may have to be read from now on."""
        if self._proxy.reads_all:
            for each in tuple(self._open):
                if isinstance(each, Unread):
                    each.leave()

    def leave(self) -> None:
        """Take no more requests on any connection."""
        for each in tuple(self._open):
            each.leave()

    def abort(self) -> None:
        """Close all connections at once."""
        if self._timer is not None:
            self._timer.cancel()
        for each in tuple(self._open):
            each.abort()

    def _keep(self, connection: Connection) -> None:
        self._open.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Ask clients to leave that have had nothing to ask for long."""
        self._timer = None
        long_ago = self._loop.time() - IDLE_SECONDS
        for each in tuple(self._open):
            if each.idle and each.busy_at < long_ago:
                each.leave()
        if self._open:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _over(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            if isinstance(connection, Unread):
                self._proxy.under_way.leave()
