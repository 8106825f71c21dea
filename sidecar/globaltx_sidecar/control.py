"""The control port: ``/healthz``, ``/readyz`` (JSON, what each part waits for), ``/metrics``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics


class ControlServer:
    """A running control port; made by `serve`."""

    def __init__(self, inner: web.Server, listener: asyncio.Server) -> None:
        self._inner = inner
        self._listener = listener

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Close it at once; probes and scrapes are no work worth waiting for."""
        self._listener.close()
        await self._inner.shutdown(timeout=0.1)
        await self._listener.wait_closed()


async def serve(health: Health, metrics: Metrics, host: str, port: int) -> ControlServer:
    """Listen for probes and scrapes.

    Raises:
        OSError: the address cannot be listened at.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        if request.path == "/readyz":
            body = json.dumps(health.detail(), indent=1) + "\n"
            return web.Response(
                status=200 if health.ready else 503, text=body, content_type="application/json"
            )
        if request.path == "/metrics":
            shown = generate_latest(metrics.registry)
            return web.Response(body=shown, headers={"Content-Type": CONTENT_TYPE_LATEST})
        return web.Response(status=404, text="here are /healthz, /readyz and /metrics\n")

    inner = web.Server(answer, access_log=None)
    listener = await asyncio.get_running_loop().create_server(inner, host, port)
    return ControlServer(inner, listener)
