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
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar, get_args

from multidict import CIMultiDict

from globaltx.coordinator.reasons import Reason
from globaltx.deadlines import Within
from globaltx.modes.guard_row import Guarded
from globaltx.values import dataclass
from globaltx_sidecar.http import states, tunnel
from globaltx_sidecar.http.answers import Response, refusal
from globaltx_sidecar.http.asked import Asked, target_of, upgrade_of, whole_body
from globaltx_sidecar.http.filter import Action, Begin, Filter, Pass, Refuse, TakePart, path_of, written_path
from globaltx_sidecar.http.headers import (
    KEY_HEADER,
    XID_HEADER,
    drop_outside,
    drop_xid,
    end_to_end,
    is_marked,
    step_of,
    xid_of,
)
from globaltx_sidecar.http.keeping import CODING_HEADER, NotLetThroughError, kept, key_of
from globaltx_sidecar.http.outcomes import Outcomes, late
from globaltx_sidecar.http.passage import Passage
from globaltx_sidecar.http.passing_back import announcer, pass_back
from globaltx_sidecar.http.tries import (
    ANSWER_BYTES_MAX,
    Answered,
    done_before,
    operation_of,
)
from globaltx_sidecar.http.under_way import REQUESTS_MAX, UnderWay
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractContextManager

    from globaltx.coordinator.policy import Route
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.initiator import Initiated, Initiator
    from globaltx_sidecar.http.requests import Once, Requests
    from globaltx_sidecar.http.tries import LetThrough, Tries, Try
    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.http1.connection import Reply
    from globaltx_sidecar.http1.exchange import Request
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.traces import Owner, Traces

Came = TypeVar("Came")

HOLD_BYTES_MAX = 1024 * 1024
HOLD_BYTES_ALL = 16 * 1024 * 1024
"""How much all answers that wait for their outcome may hold together; past it they hold nothing more."""

_NO_HEADERS: CIMultiDict[str] = CIMultiDict()
"""What is kept of a request that has no header to be kept, and is not taken apart for it."""
_UNTRACED = nullcontext()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """An answer whose outcome is durable: its head, the part of its body read so far, its transaction."""

    response: Reply
    body: bytes
    xid: str


class Proxy:
    """Handles the requests of clients; other routes may be used while it runs."""

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
        self.upstream = upstream
        self.initiator = initiator
        self.tries = tries
        self.tasks = tasks
        self._requests = requests
        self.traces = traces
        self.filter = routes
        self.outcomes = Outcomes(initiator.origin.pod, metrics)
        self.under_way = UnderWay()
        self.changed: Callable[[], None] = _nobody
        """Told when other routes are used."""
        self._held_bytes = 0
        self._counts = {kind: metrics.requests.labels(kind.__name__) for kind in get_args(Action)}

    def use(self, routes: Filter) -> None:
        """Go by these routes from now on."""
        self.filter = routes
        self.changed()

    def count(self, action: Action) -> None:
        """Count a request by what is done with it."""
        self._counts[type(action)].inc()

    @property
    def reads_all(self) -> bool:
        """Whether there is any request that is not just passed on as it came."""
        return bool(self.filter.routes) or self.filter.edge or self.traces is not None

    async def handle(self, request: Request) -> None:
        """Answer one request; an answer that breaks off is left as it is."""
        if self.under_way.full:
            give(request, refusal(503, Reason.OVERLOADED, f"{REQUESTS_MAX} requests are under way"))
            return
        self.under_way.enter()
        await self.answer(request, self._handle(request))

    def pass_on(self, request: Request) -> bool:
        """Pass a request on as it came, if nothing is to be done on it."""
        head = request.head
        if self.traces is not None or self.under_way.full or is_marked(head):
            return False
        if self.filter.find(head.method, head.target) is not None:
            return False
        if not self.upstream.pass_on(head.method, request.raw, Passage(self, request)):
            return False
        self.under_way.enter()
        self._counts[Pass].inc()
        return True

    async def answer(self, request: Request, answering: Awaitable[Response | None]) -> None:
        """Give the answer to a request that is under way, or say why there is none."""
        try:
            answer = await answering
            if answer is not None:
                give(request, answer)
        except UpstreamError as error:
            if not request.answered:
                give(request, refusal(error.status, error.reason, str(error)))
        finally:
            self.under_way.leave()

    async def _handle(self, request: Request) -> Response | None:
        marked = is_marked(request.head)
        if request.raw and not marked:
            return await self._judge(request, request.target, "", marked=False)
        target = target_of(request)
        upgrade = upgrade_of(request)
        if target is None or upgrade not in {"", tunnel.PROTOCOL} or (upgrade and request.has_body):
            asked_for = f"{request.method} {path_of(request.target)}"
            said = f"cannot pass on {asked_for}: no tunnels, no upgrade but to WebSocket (without a body)"
            return _not_supported(said)
        if marked and request.method == states.METHOD:
            reservation = states.asked_for(self.filter.routes, request.method, target, request.headers)
            if reservation is not None:
                return await states.ask(self.upstream, reservation, target, request.headers)
        return await self._judge(request, target, upgrade, marked=marked)

    async def _judge(self, request: Request, target: str, upgrade: str, *, marked: bool) -> Response | None:
        """Do what a request means; it is ``marked`` if it says anything about a transaction."""
        action = self.filter.judge(request.method, target, partial(xid_of, request.head))
        if upgrade and (isinstance(action, Begin) or (isinstance(action, TakePart) and action.route)):
            said = "a WebSocket has no answer that could decide a transaction; leave it out of the routes"
            return _not_supported(said)
        self.count(action)
        if isinstance(action, Refuse):
            return refusal(400, action.reason, action.message)
        asked = Asked(request, target, upgrade=bool(upgrade))
        if marked:
            self._drop(asked, action)
        request.invite()
        if isinstance(action, Begin):
            return await self._begin(asked, action.route)
        if isinstance(action, TakePart):
            with self._traced(asked, action.xid, action.route):
                return await self._take_part(asked, action)
        call = step_of(asked.headers, self.initiator.origin.namespace) if marked else None
        with self._traced(asked):
            return await self._pass_on(asked, call)

    def _drop(self, asked: Asked, action: Action) -> None:
        """Take out what must go no further of that which says something about a transaction."""
        if self.filter.edge:
            drop_outside(asked.headers)
        elif isinstance(action, Begin):
            drop_xid(asked.headers)
        if isinstance(action, Pass) and action.bare:
            drop_xid(asked.headers)

    def _traced(
        self, asked: Asked, xid: Xid | None = None, route: Route | None = None
    ) -> AbstractContextManager[None]:
        """Keep the request's trace for its transaction.

        A try or a step is the application's own affair: it undoes what its statements did by itself. Its
        trace is that of a call, once that has its branch.
        """
        if route is not None and route.tries is not None:
            return _UNTRACED
        return self._owned(asked, xid)

    def _owned(self, asked: Asked, owner: Owner) -> AbstractContextManager[None]:
        """Keep a request's trace for its owner; where traces do not matter it is not taken apart for that."""
        return _UNTRACED if self.traces is None else self.traces.entered(asked.headers, owner)

    async def _pass_on(self, asked: Asked, step: Guarded | None = None) -> Response | None:
        if asked.upgrade:
            tunnel.ask(asked.headers)
        response = await self.upstream.send(asked, announce=announcer(asked.request))
        if step is not None and (told := self.tries.told(step, response.status)) is not None:
            response.close()
            return told
        if asked.upgrade and response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            await tunnel.tunnel(asked.request, response)
        else:
            await pass_back(self.upstream, asked.request, response)
        return None

    async def _take_part(self, asked: Asked, action: TakePart) -> Response | None:
        xid, route = action.xid, action.route
        asked.carry_xid(xid)
        if route is None:
            return await self._pass_on(asked)
        if route.tries is None:
            await self.tries.exists(xid)
            return await self._pass_on(asked)
        key = key_of(asked.request.headers) if KEY_HEADER in asked.request.head.names.folded else ""
        trying = self._let_through(asked, route, xid, await whole_body(asked.request), key)
        try:
            with Within(route.timeout.total_seconds()):
                told = await self._try(asked, route, trying)
        except TimeoutError as error:
            raise UpstreamError(504, late(route)) from error
        if isinstance(told, Response):
            return told
        await pass_back(self.upstream, asked.request, *told)
        return None

    async def _try(self, asked: Asked, route: Route, trying: LetThrough) -> Response | tuple[Reply, bytes]:
        """What a try is answered with: an answer made here, or the application's and what was read of it."""
        async with trying as this:
            if this.answer is not None:
                return _repeated(this.answer)
            response = await self._send_try(asked, this, trying.body, route)
            if this.repeated and response.status >= HTTPStatus.BAD_REQUEST:
                response.close()
                await self.tries.completed(this, route)
                this.answer = done_before()
                return _repeated(this.answer)
            held = await self._hold(response) if this.keyed else b""
            self._held_bytes -= len(held)
            await self._completed(response, this, route)
            this.answer = _remembered(response, held) if this.keyed else None
            return response, held

    def _let_through(self, asked: Asked, route: Route, xid: Xid, body: bytes, key: str = "") -> LetThrough:
        names = route.tries.headers if route.tries else ()
        there = asked.request.head.names.all
        wanted = CODING_HEADER in there or not there.isdisjoint(names)
        headers = asked.request.headers if wanted else _NO_HEADERS
        request = kept(asked.request.method, asked.target, headers, body, names)
        if request.grpc:
            message = "a call of gRPC comes over HTTP/2, or else its branch could not be called in its way"
            raise NotLetThroughError(501, Reason.REQUEST_NOT_SUPPORTED, message)
        return self.tries.let_through(xid, route, written_path(asked.target), request, key)

    async def _completed(self, response: Reply, this: Try, route: Route) -> None:
        """Note that a step was done before anybody hears of it; an error says nothing of the kind."""
        if response.status >= HTTPStatus.BAD_REQUEST:
            return
        try:
            await self.tries.completed(this, route)
        except BaseException:
            response.close()
            raise

    async def _send_try(self, asked: Asked, this: Try, body: bytes, route: Route) -> Reply:
        operation = operation_of(route)
        asked.carry_branch(this.id, operation)
        with self._owned(asked, Guarded.of(this.id, operation)):
            response = await self.upstream.send(asked, body)
        try:
            self.tries.heard(this, operation)
        except NotLetThroughError:
            response.close()
            raise
        return response

    async def _begin(self, asked: Asked, route: Route) -> Response | None:
        body = await whole_body(asked.request) if route.tries else None
        once, repeated = self._requests.enter(asked, route)
        if once is not None and repeated:
            told = await self._requests.answer_of(once, route)
            return _repeated(told, once.xid) if isinstance(told, Answered) else told
        initiated = self.initiator.begin(route, once.xid if once else None)
        asked.carry_xid(initiated.xid)
        conduct = self._conduct(asked, route, initiated, body)
        if once is not None:
            conduct = self._conduct_once(conduct, once, initiated)
        task = self.tasks.create_task(contain(conduct), name=f"conduct {initiated.xid}")
        # Shielded: when the server gives this handler up, the outcome is still taken.
        result = await asyncio.shield(task)
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Response):
            return result
        await pass_back(self.upstream, asked.request, result.response, result.body, result.xid)
        return None

    async def _conduct_once(
        self, conduct: Coroutine[None, None, Held | Response], once: Once, initiated: Initiated
    ) -> Held | Response:
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

    async def _send(self, asked: Asked, route: Route, xid: Xid, body: bytes | None) -> Reply:
        """Pass the request that has begun a transaction on; it can be a branch of it as well."""
        if body is None:
            return await self.upstream.send(asked)
        async with self._let_through(asked, route, xid, body) as this:
            return await self._send_try(asked, this, body, route)

    async def _conduct(
        self, asked: Asked, route: Route, initiated: Initiated, body: bytes | None
    ) -> Held | Response:
        """Carry one transaction from its request to its outcome."""
        said = f"{asked.request.method} {path_of(asked.target)}"
        try:
            with Within(route.timeout.total_seconds()), self._traced(asked, initiated.xid, route):
                response = await self._send(asked, route, initiated.xid, body)
                held = await self._hold(response)
        except UpstreamError as error:
            return await self._abort(initiated, said, error)
        except TimeoutError:
            return await self._abort(initiated, said, UpstreamError(504, late(route)))
        try:
            refused = await self._decide(initiated, route, said, response.status)
        finally:
            self._held_bytes -= len(held)
        if refused is None:
            return Held(response, held, str(initiated.xid))
        response.close()
        return refused

    async def _hold(self, response: Reply) -> bytes:
        if response.body.ended:
            whole = response.body.take()
            self._held_bytes += len(whole)
            return whole
        held = bytearray()
        try:
            async with aclosing(self.upstream.chunks(response)) as chunks:
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

    async def _decide(self, initiated: Initiated, route: Route, asked: str, status: int) -> Response | None:
        commits = status in route.commit_statuses
        refused = await self.outcomes.answered(initiated, asked, f"status {status}", commits=commits)
        return None if refused is None else refused.response()

    async def _abort(self, initiated: Initiated, asked: str, error: UpstreamError) -> Response:
        return (await self.outcomes.aborted(initiated, asked, error)).response()


def give(request: Request, answer: Response) -> None:
    """Give a client an answer that was made here."""
    request.answer(answer.status, answer.reason, answer.headers, answer.body, close=answer.close)


def _nobody() -> None:
    """Nobody wants to be told."""


def _not_supported(message: str) -> Response:
    answer = refusal(501, Reason.REQUEST_NOT_SUPPORTED, message)
    answer.close = True
    return answer


def _remembered(response: Reply, held: bytes) -> Answered | None:
    if not response.body.at_eof or len(held) > ANSWER_BYTES_MAX:
        return None
    return Answered(response.status, response.reason or "", end_to_end(response.headers), held)


def _repeated(answer: Answered, xid: Xid | None = None) -> Response:
    headers = answer.headers.copy()
    if xid is not None:
        headers[XID_HEADER] = str(xid)
    return Response(answer.status, answer.reason, answer.body, headers)


async def contain(conduct: Coroutine[None, None, Came]) -> Came | Exception:
    """Keep a bug that one request found away from all the others."""
    try:
        return await conduct
    except Exception as error:  # noqa: BLE001  it is handed to the one request that it belongs to
        _log.exception("a transaction could not be conducted")
        return error
