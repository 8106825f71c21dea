"""The proxy in front of the application.

A request that begins a transaction is answered only after its outcome is durable: the answer is
held back, up to `HOLD_BYTES_MAX` of it, until the outcome has been taken. A larger body is
streamed after that, so that its end no longer has a say: an answer that breaks off beyond the
held part breaks off for the client too, and the outcome stands.

Whoever hangs up does not change the outcome: a transaction is conducted by a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http.answers import refusal
from globaltx_sidecar.http.filter import Begin, Filter, Refuse, TakePart, path_of
from globaltx_sidecar.http.headers import XID_HEADER, carry_xid, end_to_end
from globaltx_sidecar.http.initiator import UndecidedError
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp import ClientResponse
    from multidict import CIMultiDict

    from globaltx.coordinator.policy import Route
    from globaltx_sidecar.http.initiator import Initiated, Initiator
    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.metrics import Metrics

HOLD_BYTES_MAX = 1024 * 1024
HOLD_BYTES_ALL = 16 * 1024 * 1024
"""How much all answers that wait for their outcome may hold together; past it they hold nothing more."""
REQUESTS_MAX = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """An answer whose outcome is durable: its head, the part of its body read so far, its transaction."""

    response: ClientResponse
    body: bytes
    xid: str


class Proxy:
    """Handles the requests of a `web.Server`; ``filter`` may be replaced while it runs."""

    def __init__(
        self,
        upstream: Upstream,
        initiator: Initiator,
        tasks: asyncio.TaskGroup,
        metrics: Metrics,
        routes: Filter,
    ) -> None:
        self._upstream = upstream
        self._initiator = initiator
        self._tasks = tasks
        self._metrics = metrics
        self.filter = routes
        self.under_way = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._held_bytes = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if self.under_way >= REQUESTS_MAX:
            return refusal(503, Reason.OVERLOADED, f"{REQUESTS_MAX} requests are under way")
        self.under_way += 1
        self.idle.clear()
        try:
            return await self._handle(request)
        except UpstreamError as error:
            if request.writer.output_size:
                raise ConnectionResetError(str(error)) from error
            return refusal(error.status, error.reason, str(error))
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = target_of(request)
        if target is None or _leaves_http(request):
            asked = f"{request.method} {request.path}"
            return refusal(
                501, Reason.REQUEST_NOT_SUPPORTED, f"cannot pass on {asked}: no tunnels, no upgrades"
            )
        action = self.filter.judge(request.method, target, request.headers)
        self._metrics.requests.labels(type(action).__name__).inc()
        if isinstance(action, Refuse):
            return refusal(400, action.reason, action.message)
        headers = _outbound(request)
        await _invite_body(request)
        if isinstance(action, Begin):
            return await self._begin(request, target, headers, action.route)
        if isinstance(action, TakePart):
            carry_xid(headers, action.xid)
        response = await self._upstream.send(request, target, headers)
        return await self._answer(request, response)

    async def _begin(
        self, request: web.BaseRequest, target: str, headers: CIMultiDict[str], route: Route
    ) -> web.StreamResponse:
        initiated = self._initiator.begin(route)
        carry_xid(headers, initiated.xid)
        conduct = self._conduct(request, target, headers, route, initiated)
        task = self._tasks.create_task(_contain(conduct), name=f"conduct {initiated.xid}")
        # Shielded: when the server gives this handler up, the outcome is still taken.
        result = await asyncio.shield(task)
        if isinstance(result, Exception):
            raise result
        if isinstance(result, web.Response):
            return result
        return await self._answer(request, result.response, result.body, result.xid)

    async def _conduct(
        self,
        request: web.BaseRequest,
        target: str,
        headers: CIMultiDict[str],
        route: Route,
        initiated: Initiated,
    ) -> Held | web.Response:
        """Carry one transaction from its request to its outcome."""
        asked = f"{request.method} {path_of(target)}"
        try:
            async with asyncio.timeout(route.timeout.total_seconds()):
                response = await self._upstream.send(request, target, headers)
                body = await self._hold(response)
        except UpstreamError as error:
            return await self._abort(initiated, asked, error)
        except TimeoutError:
            late = UpstreamError(
                504, f"no whole answer within the route's {route.timeout.total_seconds():g} s"
            )
            return await self._abort(initiated, asked, late)
        try:
            refused = await self._decide(initiated, route, asked, response.status)
        finally:
            self._held_bytes -= len(body)
        if refused is None:
            return Held(response, body, str(initiated.xid))
        response.close()
        return refused

    async def _hold(self, response: ClientResponse) -> bytes:
        held = bytearray()
        try:
            async with aclosing(self._upstream.chunks(response)) as chunks:
                async for chunk in chunks:
                    held += chunk
                    self._held_bytes += len(chunk)
                    if len(held) >= HOLD_BYTES_MAX or self._held_bytes >= HOLD_BYTES_ALL:
                        break
        except BaseException:
            self._held_bytes -= len(held)
            response.close()
            raise
        return bytes(held)

    async def _decide(
        self, initiated: Initiated, route: Route, asked: str, status: int
    ) -> web.Response | None:
        message = f"{asked} was answered with status {status} by {self._initiator.origin.pod}"
        if status in route.commit_statuses:
            return await self._take(initiated, Outcome.COMMIT, Reason.REQUEST_SUCCEEDED, message)
        return await self._take(initiated, Outcome.ROLLBACK, Reason.REQUEST_FAILED, message)

    async def _abort(self, initiated: Initiated, asked: str, error: UpstreamError) -> web.Response:
        message = f"{asked} got no whole answer from {self._initiator.origin.pod}: {error}"
        refused = await self._take(initiated, Outcome.ROLLBACK, Reason.REQUEST_ABORTED, message)
        if refused is not None:
            return refused
        return refusal(error.status, error.reason, str(error), xid=initiated.xid, outcome=Outcome.ROLLBACK)

    async def _take(
        self, initiated: Initiated, outcome: Outcome, reason: Reason, message: str
    ) -> web.Response | None:
        """Take the outcome; return what the client must be told if it is not the one that stands."""
        xid = initiated.xid
        try:
            with self._metrics.decide_seconds.time():
                standing = await initiated.decide(outcome, reason, message)
        except UndecidedError as error:
            self._metrics.transactions.labels("Unknown", error.reason).inc()
            said = f"{error}; it is rolled back at its deadline unless the outcome was written all the same"
            return refusal(503, error.reason, said, xid=xid)
        self._metrics.transactions.labels(standing.outcome, standing.reason).inc()
        if standing.outcome is outcome:
            return None
        said = f"another outcome was taken before: {standing.outcome} ({standing.reason}) {standing.message}"
        return refusal(503, standing.reason, said.strip(), xid=xid, outcome=standing.outcome)

    async def _answer(
        self, request: web.BaseRequest, response: ClientResponse, held: bytes = b"", xid: str = ""
    ) -> web.StreamResponse:
        try:
            answer = Answer(response)
            if xid:
                answer.headers[XID_HEADER] = xid
            await answer.prepare(request)
            if held:
                await answer.write(held)
            async for chunk in self._upstream.chunks(response):
                await answer.write(chunk)
            await answer.write_eof()
        finally:
            response.close()
        return answer


class Answer(web.StreamResponse):
    """The application's answer, with its headers and no others."""

    def __init__(self, response: ClientResponse) -> None:
        super().__init__(status=response.status, reason=response.reason, headers=end_to_end(response.headers))
        self._own = frozenset(name.lower() for name in self.headers)

    async def _prepare_headers(self) -> None:
        # aiohttp has no public way to leave its own headers out.
        await super()._prepare_headers()
        for name in ("server", "content-type"):
            if name not in self._own:
                self.headers.pop(name, None)


def target_of(request: web.BaseRequest) -> str | None:
    """The request target in origin form; None where there is none (CONNECT, ``OPTIONS *``)."""
    raw = request.raw_path
    if raw.startswith("/"):
        return raw
    if "://" in raw and request.method != "CONNECT":
        return "/" + raw.partition("://")[2].partition("/")[2]
    return None


def _leaves_http(request: web.BaseRequest) -> bool:
    """Whether the client needs another protocol; an offer of HTTP/2 is one that may be ignored."""
    offered = {each.strip().lower() for each in request.headers.get("Upgrade", "").split(",")} - {""}
    asked = "upgrade" in request.headers.get("Connection", "").lower()
    return asked and bool(offered) and "h2c" not in offered


def _outbound(request: web.BaseRequest) -> CIMultiDict[str]:
    headers = end_to_end(request.headers)
    headers.popall("Expect", None)  # answered here, by `_invite_body`
    if "Transfer-Encoding" in request.headers:
        headers.popall("Content-Length", None)
    return headers


async def _invite_body(request: web.BaseRequest) -> None:
    """Answer ``Expect: 100-continue``, https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1."""
    expected = request.headers.get("Expect", "").lower() == "100-continue"
    if expected and request.body_exists and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _contain(conduct: Coroutine[None, None, Held | web.Response]) -> Held | web.Response | Exception:
    """Keep a bug that one request found away from all the others."""
    try:
        return await conduct
    except Exception as error:  # noqa: BLE001  it is handed to the one request that it belongs to
        _log.exception("a transaction could not be conducted")
        return error
