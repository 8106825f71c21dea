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
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from globaltx.coordinator.reasons import Reason
from globaltx.modes.tcc import Operation
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http import tunnel
from globaltx_sidecar.http.answers import refusal
from globaltx_sidecar.http.asked import Asked, invite_body, outbound, target_of, upgrade_of, whole_body
from globaltx_sidecar.http.filter import Begin, Filter, Refuse, TakePart, path_of
from globaltx_sidecar.http.headers import (
    KEY_HEADER,
    XID_HEADER,
    carry_branch,
    carry_xid,
    drop_xid,
    end_to_end,
)
from globaltx_sidecar.http.initiator import UndecidedError
from globaltx_sidecar.http.tries import ANSWER_BYTES_MAX, Answered, kept
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from aiohttp import ClientResponse

    from globaltx.coordinator.policy import Route
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.initiator import Initiated, Initiator
    from globaltx_sidecar.http.requests import Once, Requests
    from globaltx_sidecar.http.tries import Tries, Try
    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.traces import Traces

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

    def __init__(  # noqa: PLR0913  each is a part of its own
        self,
        upstream: Upstream,
        initiator: Initiator,
        tries: Tries,
        requests: Requests,
        tasks: asyncio.TaskGroup,
        metrics: Metrics,
        routes: Filter,
        *,
        traces: Traces | None = None,
    ) -> None:
        self._upstream = upstream
        self._initiator = initiator
        self._tries = tries
        self._tasks = tasks
        self._requests = requests
        self._metrics = metrics
        self._traces = traces
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
        upgrade = upgrade_of(request)
        if target is None or upgrade not in {"", tunnel.PROTOCOL}:
            said = f"cannot pass on {request.method} {request.path}: no tunnels, no upgrade but to WebSocket"
            return _not_supported(said)
        action = self.filter.judge(request.method, target, request.headers)
        if upgrade and (isinstance(action, Begin) or (isinstance(action, TakePart) and action.route)):
            said = "a WebSocket has no answer that could decide a transaction; leave it out of the routes"
            return _not_supported(said)
        self._metrics.requests.labels(type(action).__name__).inc()
        if isinstance(action, Refuse):
            return refusal(400, action.reason, action.message)
        asked = Asked(request, target, outbound(request), upgrade=bool(upgrade))
        if self.filter.edge or isinstance(action, Begin):
            drop_xid(asked.headers)
        await invite_body(request)
        if isinstance(action, Begin):
            return await self._begin(asked, action.route)
        if isinstance(action, TakePart):
            with self._traced(asked, action.xid, action.route):
                return await self._take_part(asked, action)
        if action.bare:
            drop_xid(asked.headers)
        with self._traced(asked):
            return await self._pass_on(asked)

    def _traced(
        self, asked: Asked, xid: Xid | None = None, route: Route | None = None
    ) -> AbstractContextManager[None]:
        """Keep the request's trace for its transaction.

        A try or a step is the application's own affair: it undoes what its statements did by itself.
        """
        if self._traces is None:
            return nullcontext()
        own = route is not None and route.tries is not None
        return self._traces.entered(asked.headers, None if own else xid)

    async def _pass_on(self, asked: Asked) -> web.StreamResponse:
        if asked.upgrade:
            tunnel.ask(asked.headers)
        response = await self._upstream.send(asked.request, asked.target, asked.headers)
        if asked.upgrade and response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return await tunnel.tunnel(asked.request, response)
        return await self._answer(asked.request, response)

    async def _take_part(self, asked: Asked, action: TakePart) -> web.StreamResponse:
        xid, route = action.xid, action.route
        carry_xid(asked.headers, xid)
        if route is None:
            return await self._pass_on(asked)
        if route.tries is None:
            await self._tries.exists(xid)
            return await self._pass_on(asked)
        key = asked.request.headers.get(KEY_HEADER, "")
        body = await whole_body(asked.request)
        try:
            async with (
                asyncio.timeout(route.timeout.total_seconds()),
                self._let_through(asked, route, xid, body, key) as this,
            ):
                if this.answer is not None:
                    return _repeated(this.answer)
                response = await self._send_try(asked, this, body, route)
                held = await self._hold(response) if key else b""
                self._held_bytes -= len(held)
                await self._completed(response, this, route)
                this.answer = _remembered(response, held) if key else None
        except TimeoutError as error:
            raise UpstreamError(504, _late(route)) from error
        return await self._answer(asked.request, response, held)

    def _let_through(
        self, asked: Asked, route: Route, xid: Xid, body: bytes, key: str = ""
    ) -> AbstractAsyncContextManager[Try]:
        names = route.tries.headers if route.tries else ()
        request = kept(asked.request.method, asked.target, asked.request.headers, body, names)
        return self._tries.let_through(xid, route, path_of(asked.target), request, key)

    async def _completed(self, response: ClientResponse, this: Try, route: Route) -> None:
        """Note that a step was done before anybody hears of it; an error says nothing of the kind."""
        if response.status >= HTTPStatus.BAD_REQUEST:
            return
        try:
            await self._tries.completed(this, route)
        except BaseException:
            response.close()
            raise

    async def _send_try(self, asked: Asked, this: Try, body: bytes, route: Route) -> ClientResponse:
        operation = Operation.TRY if route.saga is None else Operation.STEP
        carry_branch(asked.headers, this.id, operation, 1)
        return await self._upstream.send(asked.request, asked.target, asked.headers, body)

    async def _begin(self, asked: Asked, route: Route) -> web.StreamResponse:
        body = await whole_body(asked.request) if route.tries else None
        once, repeated = self._requests.enter(asked, route)
        if once is not None and repeated:
            told = await self._requests.answer_of(once, route)
            return _repeated(told, once.xid) if isinstance(told, Answered) else told
        initiated = self._initiator.begin(route, once.xid if once else None)
        carry_xid(asked.headers, initiated.xid)
        conduct = self._conduct(asked, route, initiated, body)
        if once is not None:
            conduct = self._conduct_once(conduct, once, initiated)
        task = self._tasks.create_task(_contain(conduct), name=f"conduct {initiated.xid}")
        # Shielded: when the server gives this handler up, the outcome is still taken.
        result = await asyncio.shield(task)
        if isinstance(result, Exception):
            raise result
        if isinstance(result, web.Response):
            return result
        return await self._answer(asked.request, result.response, result.body, result.xid)

    async def _conduct_once(
        self, conduct: Coroutine[None, None, Held | web.Response], once: Once, initiated: Initiated
    ) -> Held | web.Response:
        """Carry a transaction out unless its request has been here, or elsewhere, before."""
        answer = None
        try:
            refused = await self._requests.begun(initiated)
            if refused is not None:
                return refused
            result = await conduct
            if isinstance(result, Held):
                answer = _remembered(result.response, result.body)
            return result
        finally:
            conduct.close()  # it may not have begun
            self._requests.leave(once, answer)

    async def _send(self, asked: Asked, route: Route, xid: Xid, body: bytes | None) -> ClientResponse:
        """Pass the request that has begun a transaction on; it can be a branch of it as well."""
        if body is None:
            return await self._upstream.send(asked.request, asked.target, asked.headers)
        async with self._let_through(asked, route, xid, body) as this:
            return await self._send_try(asked, this, body, route)

    async def _conduct(
        self, asked: Asked, route: Route, initiated: Initiated, body: bytes | None
    ) -> Held | web.Response:
        """Carry one transaction from its request to its outcome."""
        said = f"{asked.request.method} {path_of(asked.target)}"
        try:
            async with asyncio.timeout(route.timeout.total_seconds()):
                with self._traced(asked, initiated.xid, route):
                    response = await self._send(asked, route, initiated.xid, body)
                    held = await self._hold(response)
        except UpstreamError as error:
            return await self._abort(initiated, said, error)
        except TimeoutError:
            return await self._abort(initiated, said, UpstreamError(504, _late(route)))
        try:
            refused = await self._decide(initiated, route, said, response.status)
        finally:
            self._held_bytes -= len(held)
        if refused is None:
            return Held(response, held, str(initiated.xid))
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
            if upgrade_of(request):
                answer.force_close()  # what follows on the connection is read as HTTP no more
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


def _not_supported(message: str) -> web.Response:
    answer = refusal(501, Reason.REQUEST_NOT_SUPPORTED, message)
    answer.force_close()  # what follows on the connection may be no HTTP
    return answer


def _remembered(response: ClientResponse, held: bytes) -> Answered | None:
    if not response.content.at_eof() or len(held) > ANSWER_BYTES_MAX:
        return None
    return Answered(response.status, response.reason or "", end_to_end(response.headers), held)


def _repeated(answer: Answered, xid: Xid | None = None) -> web.StreamResponse:
    headers = answer.headers.copy()
    if xid is not None:
        headers[XID_HEADER] = str(xid)
    headers.popall("Content-Length", None)
    return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=answer.body)


def _late(route: Route) -> str:
    return f"no whole answer within the route's {route.timeout.total_seconds():g} s"


async def _contain(conduct: Coroutine[None, None, Held | web.Response]) -> Held | web.Response | Exception:
    """Keep a bug that one request found away from all the others."""
    try:
        return await conduct
    except Exception as error:  # noqa: BLE001  it is handed to the one request that it belongs to
        _log.exception("a transaction could not be conducted")
        return error
