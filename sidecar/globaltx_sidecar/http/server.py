"""The listening side of the proxy: accepts connections, stops gracefully."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_sidecar.http.arrivals import Arrivals

if TYPE_CHECKING:
    from datetime import timedelta

    from globaltx_sidecar.http.proxy import Proxy

BACKLOG = 1024
IDLE_SECONDS = 630.0
"""How long an idle client may stay; longer than the usual load balancers' ten minutes."""


class HttpServer:
    """A running listening side; made by `serve`."""

    def __init__(self, proxy: Proxy, arrivals: Arrivals, listener: asyncio.Server) -> None:
        self._proxy = proxy
        self._arrivals = arrivals
        self._listener = listener

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens (the port that was really taken, if 0 was asked for)."""
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self, grace: timedelta) -> None:
        """Take no more connections, let the requests under way end, then close everything."""
        self._listener.close()
        self._arrivals.leave()
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self._proxy.under_way.idle.wait()
        except TimeoutError:
            pass  # what is still under way is cut off; its outcome is taken all the same
        await self._arrivals.close()
        await self._listener.wait_closed()


async def serve(proxy: Proxy, host: str, port: int) -> HttpServer:
    """Listen for the proxy.

    Raises:
        OSError: the address cannot be listened at.
    """
    arrivals = Arrivals(proxy, IDLE_SECONDS)
    listener = await asyncio.get_running_loop().create_server(arrivals, host, port, backlog=BACKLOG)
    return HttpServer(proxy, arrivals, listener)
