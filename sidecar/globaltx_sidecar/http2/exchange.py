"""One request over HTTP/2, from its headers to the end of its answer."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol

from h2.errors import ErrorCodes

from globaltx.coordinator.reasons import Reason
from globaltx.modes.guard_row import Guarded
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.http.filter import Begin, Refuse, TakePart, path_of
from globaltx_sidecar.http.headers import carry_branch, carry_xid, drop_outside, drop_xid, find_xid
from globaltx_sidecar.http.under_way import REQUESTS_MAX
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.http1.heads import HEADERS_MAX
from globaltx_sidecar.http2.answers import is_cut_short
from globaltx_sidecar.http2.answers import refused as as_sent
from globaltx_sidecar.http2.conduct import Transaction
from globaltx_sidecar.http2.first import First
from globaltx_sidecar.http2.metadata import passed_on, with_xid
from globaltx_sidecar.http2.outbox import Data, Head, Outbox
from globaltx_sidecar.http2.trying import Trying, unsupported
from globaltx_sidecar.traces import owned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Route
    from globaltx.modes.tcc import Operation
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.proxy import Proxy
    from globaltx_sidecar.http2.conduct import Held
    from globaltx_sidecar.http2.metadata import Request
    from globaltx_sidecar.http2.side import Side
    from globaltx_sidecar.traces import Owner

WAITING_BYTES_ALL = 16 * 1024 * 1024
"""How much of all bodies may wait here together; past it, whose body has to wait is reset."""


class Budget:
    """What waits in all connections."""

    def __init__(self) -> None:
        self.used = 0


class Connections(Protocol):
    """The two connections that a request goes over."""

    client: Side
    application: Side
    budget: Budget

    def admit(self, exchange: Exchange) -> None:
        """Give the request a stream to the application, now or when there is room."""

    def over(self, exchange: Exchange) -> None:
        """The request is over; told once."""

    def write(self) -> None:
        """Send what is to be sent."""


class Exchange:
    """A request and its answer; `up` is what the application gets, `down` what the client gets."""

    def __init__(self, between: Connections, proxy: Proxy, stream: int, request: Request) -> None:
        self._between = between
        self._proxy = proxy
        self._stack = ExitStack()
        self._held: Held | None = None
        self._trying: Trying | None = None
        self._answer: Head | None = None
        self._early = 0
        """How much of the answer was acknowledged while it was held back."""
        self._early_asked = 0
        """How much of the request was acknowledged while its branch was not durable."""
        self._broken_off: int | None = None
        """With which code the answer broke off while it was held back, if it did."""
        self._over = self._said = False
        self.request = request
        self.up = Outbox(between.application, 0, self._went_up)
        self.down = Outbox(between.client, stream, self._went_down)
        self.up_read = request.ended
        """Whether the client has sent all of its request."""
        self.down_read = False
        """Whether the application has sent all of its answer."""
        proxy.under_way.enter()

    # What the request means.

    def start(self) -> None:
        """Let the request do what it means."""
        refused = self._judged()
        if refused is not None:
            self.refuse(refused)

    def _judged(self) -> Refusal | None:
        proxy, request = self._proxy, self.request
        refused = self._unreadable()
        if refused is not None:
            return refused
        action = proxy.filter.judge(request.method, request.target, partial(find_xid, request.headers))
        proxy.count(action)
        if isinstance(action, Refuse):
            return Refusal(400, action.reason, action.message)
        if proxy.filter.edge:
            drop_outside(request.headers)
        elif isinstance(action, Begin):
            drop_xid(request.headers)
        if isinstance(action, Begin):
            return self._begin(action.route)
        if isinstance(action, TakePart):
            return self._take_part(action.xid, action.route)
        if action.bare:
            drop_xid(request.headers)
        self._pass_on()
        return None

    def _unreadable(self) -> Refusal | None:
        """What is wrong with the request whatever it means."""
        request = self.request
        if self._proxy.under_way.count > REQUESTS_MAX:
            return Refusal(503, Reason.OVERLOADED, f"{REQUESTS_MAX} requests are under way")
        if not request.target.startswith("/") or request.method == "CONNECT":
            return _unsupported(f"cannot pass on {request.method} {request.target}")
        if len(request.pairs) > HEADERS_MAX:
            return Refusal(413, Reason.REQUEST_TOO_LARGE, f"more than {HEADERS_MAX} headers")
        return None

    def _begin(self, route: Route) -> Refusal | None:
        proxy, request = self._proxy, self.request
        why = "" if route.tries is None else unsupported(route, request)
        if why:
            return _unsupported(why)
        if route.request_id_header and route.request_id_header in request.headers:
            return _unsupported(f"{route.request_id_header} (route {route.name!r}) is for HTTP/1.1 only")
        if request.grpc_web:
            return _unsupported("the status of gRPC-Web stands in its body; use gRPC on a route")
        initiated = proxy.initiator.begin(route)
        carry_xid(request.headers, initiated.xid)
        said = f"{request.method} {path_of(request.target)}"
        if route.tries is not None:
            self._keep(first := First(route, initiated, request, said))
            proxy.tasks.create_task(
                first.conduct_all(proxy.tries, proxy.outcomes, self), name=f"conduct {initiated.xid}"
            )
            return None
        self._held = transaction = Transaction(route, initiated, said, grpc=request.grpc)
        conduct = transaction.conduct(proxy.outcomes, self)
        proxy.tasks.create_task(conduct, name=f"conduct {initiated.xid}")
        self._pass_on(initiated.xid)
        return None

    def _take_part(self, xid: Xid, route: Route | None) -> Refusal | None:
        carry_xid(self.request.headers, xid)
        if route is None:
            self._pass_on(xid)
            return None
        if route.tries is not None:
            return self._try(xid, route)
        self._proxy.tasks.create_task(self._once_it_exists(xid), name=f"look for {xid}")
        return None

    def _try(self, xid: Xid, route: Route) -> Refusal | None:
        why = unsupported(route, self.request)
        if why:
            return _unsupported(why)
        self._keep(trying := Trying(route, xid, self.request))
        conduct = trying.conduct(self._proxy.tries, self)
        self._proxy.tasks.create_task(conduct, name=f"try {route.name} of {xid}")
        return None

    def _keep(self, trying: Trying) -> None:
        """Keep the call whole until its branch is durable."""
        self._held = self._trying = trying
        if self.request.ended:
            trying.asked(b"", end=True)

    def let_through(self, branch: BranchId, operation: Operation) -> None:
        """See `trying.Client`."""
        if self._over:
            return
        carry_branch(self.request.headers, branch, operation, 1)
        self._pass_on(Guarded.of(branch, operation))  # what its statements do the application undoes itself
        self._between.write()

    async def _once_it_exists(self, xid: Xid) -> None:
        try:
            await self._proxy.tries.exists(xid)
        except UpstreamError as error:
            self.refuse(Refusal(error.status, error.reason, str(error)))
        else:
            self._pass_on(xid)
        self._between.write()

    def _pass_on(self, owner: Owner = None) -> None:
        if self._over:
            return
        self._stack.enter_context(owned(self._proxy.traces, self.request.headers, owner))
        if self._held is None:
            self.down.start()
        self._between.admit(self)

    def admitted(self, stream: int) -> None:
        """Go on to the application as this stream."""
        self.up.stream = stream
        self.up.start([Head(self.request.onward(), end=self.request.ended)])
        self._look_for_end()

    # What the client sends.

    def request_body(self, data: bytes, *, end: bool) -> None:
        """A part of the request's body."""
        self.up_read |= end
        self._between.budget.used += len(data)
        if self._trying is not None and not self.up.open and not self.up.done:
            self._early_asked += len(data)
            self._between.client.acknowledge(self.down.stream, len(data))
        self.up.put(Data(data, end=end))
        if self._trying is not None:
            self._trying.asked(data, end=end)
        self._bound(self.up)

    def request_trailers(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The request has ended with these."""
        self.up_read = True
        kept = passed_on(pairs)
        self.up.put(Head(kept, end=True) if kept else Data(b"", end=True))
        if self._trying is not None:
            self._trying.asked(b"", end=True)
        self._look_for_end()

    def client_left(self, code: int = ErrorCodes.CANCEL) -> None:
        """The client waits for no answer any more."""
        self.up_read = True
        if self._held is not None:
            self._held.lost(UpstreamError(499, "the client took the request back"))
        self._reset_application(code)
        self.up.drop()
        self.down.drop()
        self._look_for_end()

    # What the application sends.

    def informed(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """An answer before the answer (1xx), which nothing depends on."""
        if not self.down.done:
            self._between.client.send_head(self.down.stream, pairs)

    def answer(self, pairs: Iterable[tuple[bytes, bytes]], *, end: bool) -> None:
        """The answer has begun."""
        pairs = list(pairs)
        if end and is_cut_short(self.request.method, pairs):
            why = f"the application at {self._proxy.upstream.address} ended its answer before the body"
            self._between.application.reset(self.up.stream, ErrorCodes.PROTOCOL_ERROR)
            self.application_left(ErrorCodes.PROTOCOL_ERROR, UpstreamError(502, why))
            return
        self._answer = Head(pairs, end=end)
        if self._held is not None:
            self._held.head(self._answer.pairs, end=end)
        self.down.put(self._answer)
        self._read(end=end)

    def answer_body(self, data: bytes, *, end: bool) -> None:
        """A part of the answer's body."""
        self._between.budget.used += len(data)
        self.down.put(Data(data, end=end))
        if self._held is not None and not self.down.open and not self.down.done:
            self._hold(self._held, data)
        self._bound(self.down)
        self._read(end=end)

    def _hold(self, held: Held, data: bytes) -> None:
        """Keep a part of the answer, and let the application go on with it."""
        if held.holds:
            self._early += len(data)
            self._between.application.acknowledge(self.up.stream, len(data))
        held.body(data)

    def answer_trailers(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer has ended with these."""
        trailers = list(pairs)
        if self._held is not None:
            self._held.trailers(trailers)
        self.down.put(Head(trailers, end=True))
        self._read(end=True)

    def application_left(self, code: int, error: UpstreamError) -> None:
        """The application takes no more of the request, and answers no more than it has."""
        self.up.drop()
        if self.down_read:  # it has answered before the request was whole
            self._look_for_end()
        elif self._held is not None and not self.down.open:
            self.down_read = True
            self._broken_off = code
            self._held.lost(error)
        elif self._answer is None and code not in {ErrorCodes.REFUSED_STREAM, ErrorCodes.CANCEL}:
            self.refuse(Refusal(error.status, error.reason, str(error)))
        else:
            self._break_off(code)

    def _break_off(self, code: int) -> None:
        self._between.client.reset(self.down.stream, code)
        self.down.drop()
        self._look_for_end()

    def _read(self, *, end: bool) -> None:
        self.down_read |= end
        if end and self._held is not None:
            self._held.ended()
        self._look_for_end()

    # What becomes of it.

    def decided(self, refused: Refusal | None) -> None:
        """The outcome is durable: give the answer, or this instead."""
        if self._over:
            return
        if refused is not None:
            self.refuse(refused)
        else:
            if self._answer is not None and self._held is not None and self._held.xid is not None:
                self._answer.pairs = with_xid(self._answer.pairs, self._held.xid)
            self.down.start()
            self._look_for_end()
            if self._broken_off is not None:  # beyond what decided
                self._break_off(self._broken_off)
        self._between.write()

    def repeated(self, items: Iterable[Head | Data]) -> None:
        """See `trying.Client`."""
        self._say(items)
        self._between.write()

    def refuse(self, refusal: Refusal) -> None:
        """Answer it ourselves."""
        self._say(as_sent(refusal, grpc=self.request.grpc))

    def _say(self, items: Iterable[Head | Data]) -> None:
        if self._over or self._said:
            return
        self._said = True
        self._reset_application(ErrorCodes.CANCEL)
        self.down_read = True  # nothing that the application does makes another answer of it
        self.up.drop()
        if self.down.done:
            self._look_for_end()
            return
        self.down.drop()
        self.down.done = False
        for item in items:
            if isinstance(item, Data):
                self._between.budget.used += len(item.data)
                self._early += len(item.data)
            self.down.put(item)
        self.down.start()
        self._look_for_end()

    def flush(self) -> None:
        """Send what there is room for."""
        self.up.flush()
        self.down.flush()
        self._look_for_end()

    def _reset_application(self, code: int) -> None:
        if self.up.stream and not (self.up.done and self.down_read):
            self._between.application.reset(self.up.stream, code)
            self.down_read = True

    def _bound(self, box: Outbox) -> None:
        if self._between.budget.used <= WAITING_BYTES_ALL or not box.waits:
            self._look_for_end()
            return
        self._between.client.reset(self.down.stream, ErrorCodes.ENHANCE_YOUR_CALM)
        self.client_left(ErrorCodes.ENHANCE_YOUR_CALM)

    def _look_for_end(self) -> None:
        if self._over or not (self.up.done and self.down.done):
            return
        self._over = True
        if not self.up_read:  # answered before it was whole: nobody wants the rest
            self._between.client.reset(self.down.stream, ErrorCodes.NO_ERROR)
        self._stack.close()
        self._proxy.under_way.leave()
        self._between.over(self)

    def _went_up(self, size: int) -> None:
        self._between.budget.used -= size
        early = min(size, self._early_asked)
        self._early_asked -= early
        self._between.client.acknowledge(self.down.stream, size - early)

    def _went_down(self, size: int) -> None:
        self._between.budget.used -= size
        early = min(size, self._early)
        self._early -= early
        self._between.application.acknowledge(self.up.stream, size - early)


def _unsupported(message: str) -> Refusal:
    return Refusal(501, Reason.REQUEST_NOT_SUPPORTED, message)
