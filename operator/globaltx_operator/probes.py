"""``/healthz``, ``/readyz`` (which tells what it waits for) and ``/metrics``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from globaltx_operator.metrics import Metrics

_SHUTDOWN_SECONDS = 1.0


class Readiness:
    """What must be there before this replica is ready; each is named by a sentence."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[[], bool]] = {}

    def needs(self, sentence: str, check: Callable[[], bool]) -> None:
        """Wait for a check to hold."""
        self._checks[sentence] = check

    def waits_for(self) -> list[str]:
        """The sentences of what is not there yet."""
        return [sentence for sentence, check in self._checks.items() if not check()]


@asynccontextmanager
async def probes(host: str, port: int, readiness: Readiness, metrics: Metrics) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port (useful when 0 was asked for)."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        waits_for = readiness.waits_for()
        if waits_for:
            text = "".join(f"waits for {sentence}\n" for sentence in waits_for)
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text)
        return web.Response(text="ready\n")

    async def expose(_: web.Request) -> web.Response:
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=metrics.exposed(), headers=headers)

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", expose)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
