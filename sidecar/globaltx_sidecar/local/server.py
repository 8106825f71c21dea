"""Listens on loopback for the local API: reads and checks requests, writes answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.check import filled, problems
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.local import openapi, schemas
from globaltx_sidecar.local.service import RefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx_sidecar.local.service import LocalService

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_BYTES_MAX = 512 * 1024
"""The largest body that is read; JSON can make six bytes of one."""
STOP_SECONDS = 5.0


class LocalServer:
    """A running local API; made by `serve`."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def stop(self) -> None:
        """Let what is under way end, for a moment, and close."""
        await self._runner.cleanup()


async def serve(service: LocalService, port: int, host: str = "127.0.0.1") -> LocalServer:
    """Listen; only processes of the pod reach loopback.

    Raises:
        OSError: the address cannot be listened at.
    """
    application = web.Application(middlewares=[_answering], client_max_size=REQUEST_BYTES_MAX)
    handlers = _Handlers(service)
    transaction = "/v1/transactions/{xid}"
    application.add_routes(
        [
            web.get("/openapi.json", handlers.openapi),
            web.post("/v1/transactions", handlers.begin),
            web.get(transaction, handlers.status),
            web.post(f"{transaction}/branches", handlers.join),
            web.post(f"{transaction}/branches/{{branch}}/completed", handlers.completed),
            web.post(f"{transaction}/commit", handlers.commit),
            web.post(f"{transaction}/rollback", handlers.rollback),
        ]
    )
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return LocalServer(runner)


class _Handlers:
    def __init__(self, service: LocalService) -> None:
        self._service = service

    async def openapi(self, _request: web.Request) -> web.Response:
        return web.json_response(openapi.document())

    async def begin(self, request: web.Request) -> web.Response:
        return _json(await self._service.begin(await _asked(request, schemas.begin())), 201)

    async def status(self, request: web.Request) -> web.Response:
        return _json(await self._service.status(_xid(request)))

    async def join(self, request: web.Request) -> web.Response:
        xid = _xid(request)
        return _json(await self._service.join(xid, await _asked(request, schemas.branch())), 201)

    async def completed(self, request: web.Request) -> web.Response:
        return _json(await self._service.completed(_xid(request), request.match_info["branch"]))

    async def commit(self, request: web.Request) -> web.Response:
        return await self._decide(request, Outcome.COMMIT)

    async def rollback(self, request: web.Request) -> web.Response:
        return await self._decide(request, Outcome.ROLLBACK)

    async def _decide(self, request: web.Request, outcome: Outcome) -> web.Response:
        xid = _xid(request)
        return _json(await self._service.decide(xid, outcome, await _asked(request, schemas.decision())))


@web.middleware
async def _answering(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        # Shielded: a client that hangs up does not leave half of it done.
        return await asyncio.shield(asyncio.ensure_future(handler(request)))
    except RefusedError as error:
        return _refusal(Refusal(error.status, error.reason, str(error), error.xid, error.outcome))
    except web.HTTPException as error:
        said = f"{error.reason}: see /openapi.json"
        answer = _refusal(Refusal(error.status, Reason.REQUEST_NOT_SUPPORTED, said))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


def _xid(request: web.Request) -> Xid:
    try:
        return Xid.parse(request.match_info["xid"])
    except InvalidXidError as error:
        raise RefusedError(400, Reason.INVALID_XID, str(error)) from error


async def _asked(request: web.Request, schema: dict[str, Any]) -> dict[str, Any]:
    """Read a request's JSON with defaults; no body is an empty object."""
    try:
        raw = json.loads(await request.read() or b"{}")
        json.dumps(raw, ensure_ascii=False).encode()  # half a character cannot be written down
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, f"the body is not JSON: {error}") from error
    asked = filled(schema, raw)
    wrong = list(problems(schema, asked, "body"))
    if wrong:
        raise RefusedError(400, Reason.REQUEST_NOT_SUPPORTED, "; ".join(wrong[:8]))
    found: dict[str, Any] = asked
    return found


def _refusal(refusal: Refusal) -> web.Response:
    response = refusal.response()
    return web.Response(status=response.status, body=response.body, headers=response.headers)


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, text=json.dumps(body) + "\n", content_type="application/json")
