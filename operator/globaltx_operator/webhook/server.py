"""The two addresses of the webhook over HTTPS: ``/inject`` and ``/validate``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from globaltx_operator.webhook.admission import BadReviewError, read_review

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from globaltx_operator.webhook.admission import AdmissionRequest
    from globaltx_operator.webhook.reviewer import Reviewer

    Answer = Callable[[AdmissionRequest], Awaitable[dict[str, Any]]]

REVIEW_BYTES_MAX = 8 * 1024 * 1024
"""A review holds an object and its predecessor, each at most 1.5 MiB in the store."""
REVIEW_SECONDS_MAX = 8.0
"""Less than the API server waits, so that it gets an answer that says why."""
SHUTDOWN_SECONDS = 10.0


def application(reviewer: Reviewer) -> web.Application:
    """The routes."""
    app = web.Application(client_max_size=REVIEW_BYTES_MAX)
    app.router.add_post("/inject", _handler(reviewer.inject))
    app.router.add_post("/validate", _handler(reviewer.validate))
    return app


async def start(app: web.Application, host: str, port: int, context: ssl.SSLContext) -> web.AppRunner:
    """Listen; `cleanup` of the runner answers what is open, bounded, and stops.

    Raises:
        OSError: the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def _handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            review = read_review(await request.read())
        except BadReviewError as error:
            return web.Response(status=400, text=f"{error}\n")
        try:
            async with asyncio.timeout(REVIEW_SECONDS_MAX):
                return web.json_response(await answer(review))
        except TimeoutError:
            return web.Response(status=503, text="globaltx: the API server did not answer in time\n")

    return handle
