"""A client's connection and the one to the application that belongs to it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from h2 import events
from h2.errors import ErrorCodes

from globaltx.http2_frames import NUMBER_MAX
from globaltx_sidecar.http.upstream import CONNECT_SECONDS, UpstreamError, told
from globaltx_sidecar.http2 import metadata
from globaltx_sidecar.http2.exchange import Exchange
from globaltx_sidecar.http2.side import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2.events import Event

    from globaltx_sidecar.http.proxy import Proxy
    from globaltx_sidecar.http2.exchange import Budget

_OfAnAnswer: TypeAlias = (
    events.ResponseReceived
    | events.TrailersReceived
    | events.InformationalResponseReceived
    | events.StreamReset
)


class Bridge:
    """Passes requests on from one to the other; ``over`` is called when both are gone."""

    def __init__(self, proxy: Proxy, budget: Budget, over: Callable[[Bridge], None]) -> None:
        self._proxy = proxy
        self._over = over
        self._requests: dict[int, Exchange] = {}
        self._answers: dict[int, Exchange] = {}
        self._waiting: deque[Exchange] = deque()
        self._ready = asyncio.Event()
        self._failed = ""
        """Why there is no application."""
        self._leaving = False
        self._last_request = 0
        self._last_taken = NUMBER_MAX
        self._last_answered = NUMBER_MAX
        """The last stream that the application answers."""
        self.busy_at = asyncio.get_running_loop().time()
        self.budget = budget
        self.client = Side(self, towards_client=True)
        self.application = Side(self, towards_client=False)

    async def run(self, host: str, port: int) -> None:
        """Connect to the application; until then requests wait."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: self.application, host, port)
                await self._ready.wait()
        except OSError as error:  # a timeout is one
            why = f"takes no connection of HTTP/2: {told(error)}"
            if not self.application.gone:
                self.application.abort(why)
            return
        if self.client.gone:
            self.application.close()
            return
        self._admit_waiting()
        self.write()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._requests

    def leave(self) -> None:
        """Take no more requests; close when those under way are over."""
        self._leaving = True
        self.client.go_away()
        self._close_if_idle()

    def abort(self) -> None:
        """Close both connections at once."""
        self.client.abort("the sidecar stops")

    # What the sides tell.

    def received(self, side: Side, event: Event) -> None:
        """See `side.Bridge`."""
        if side is self.client:
            self._asked(event)
        else:
            self._answered(event)

    def _asked(self, event: Event) -> None:
        match event:
            case events.RequestReceived():
                self._request(event)
            case events.DataReceived():
                end = event.stream_ended is not None
                self._body(self.client, self._requests.get(event.stream_id), event, end=end)
            case events.TrailersReceived():
                if exchange := self._requests.get(event.stream_id):
                    exchange.request_trailers(event.headers)
            case events.StreamReset():
                self.client.taken_back()
                if exchange := self._requests.get(event.stream_id):
                    exchange.client_left(event.error_code)
            case events.WindowUpdated():
                self._room(self._requests, event.stream_id)
            case events.RemoteSettingsChanged():
                self.flush(self.client)
            case _:
                pass  # acknowledgements, pings, priorities

    def _answered(self, event: Event) -> None:
        if isinstance(event, events.RemoteSettingsChanged):
            self._ready.set()
            self.flush(self.application)
        elif isinstance(event, events.WindowUpdated):
            self._room(self._answers, event.stream_id)
        elif isinstance(event, events.DataReceived):
            end = event.stream_ended is not None
            self._body(self.application, self._answers.get(event.stream_id), event, end=end)
        elif isinstance(event, _OfAnAnswer):
            exchange = self._answers.get(event.stream_id)
            if exchange is not None:
                self._of_answer(exchange, event)

    def _of_answer(self, exchange: Exchange, event: _OfAnAnswer) -> None:
        match event:
            case events.ResponseReceived():
                exchange.answer(event.headers, end=event.stream_ended is not None)
            case events.TrailersReceived():
                exchange.answer_trailers(event.headers)
            case events.InformationalResponseReceived():
                exchange.informed(event.headers)
            case events.StreamReset():
                exchange.application_left(event.error_code, self._error("ended the answer"))

    def _request(self, event: events.RequestReceived) -> None:
        self._last_request = event.stream_id
        request = metadata.read(event.headers, ended=event.stream_ended is not None)
        exchange = Exchange(self, self._proxy, event.stream_id, request)
        self._requests[event.stream_id] = exchange
        exchange.start()

    def _body(self, side: Side, exchange: Exchange | None, event: events.DataReceived, *, end: bool) -> None:
        side.acknowledge(event.stream_id, event.flow_controlled_length - len(event.data))  # padding
        if exchange is None:
            side.acknowledge(event.stream_id, len(event.data))
        elif side is self.client:
            exchange.request_body(event.data, end=end)
        else:
            exchange.answer_body(event.data, end=end)

    def _room(self, exchanges: dict[int, Exchange], stream: int) -> None:
        found = exchanges.get(stream)
        for exchange in (found,) if found is not None else tuple(exchanges.values()) if not stream else ():
            exchange.flush()

    def flush(self, side: Side) -> None:
        """See `side.Bridge`."""
        for exchange in tuple((self._requests if side is self.client else self._answers).values()):
            exchange.flush()
        if side is self.application:
            self._admit_waiting()

    def goes_away(self, side: Side, last_stream: int) -> None:
        """See `side.Bridge`."""
        if side is self.client:
            return  # it closes when it has all its answers
        for stream, exchange in tuple(self._answers.items()):
            if stream > last_stream:
                exchange.application_left(ErrorCodes.REFUSED_STREAM, self._error("goes away"))
        self._last_answered = last_stream
        if self._refuses:
            self._refuse_waiting()
        self._take_no_more()
        self._close_if_idle()

    def lost(self, side: Side, why: str) -> None:
        """See `side.Bridge`."""
        if side is self.client:
            for exchange in tuple(self._requests.values()):
                exchange.client_left()
            self.application.write()
            self.application.close()
        else:
            self._application_lost(why)
        if self.client.gone and self.application.gone:
            self._over(self)

    def _application_lost(self, why: str) -> None:
        said = "" if self.application.speaks else "it speaks no HTTP/2, or not yet; "
        self._failed = f"{said}{why}"
        self._ready.set()
        error = self._error("closed the connection")
        self._waiting.clear()
        for exchange in tuple(self._requests.values()):
            exchange.application_left(ErrorCodes.INTERNAL_ERROR, error)
        if self.application.speaks or self._requests:
            self._take_no_more()
        self.write()
        self._close_if_idle()

    def _take_no_more(self) -> None:
        """Tell the client that requests above the last one are not taken; it may send them elsewhere."""
        if self._last_taken == NUMBER_MAX:
            self._leaving = True
            self._last_taken = self._last_request
            self.client.go_away(self._last_taken)

    # What requests ask for.

    def admit(self, exchange: Exchange) -> None:
        """See `exchange.Connections`."""
        if self._failed:
            exchange.application_left(ErrorCodes.INTERNAL_ERROR, self._error("is not there"))
            self._take_no_more()  # the next connection may find it there
            self._close_if_idle()
        elif exchange.down.stream > self._last_taken or self._refuses:
            exchange.application_left(ErrorCodes.REFUSED_STREAM, self._error("goes away"))
        else:
            self._waiting.append(exchange)
            self._admit_waiting()

    def _admit_waiting(self) -> None:
        application = self.application
        if not self._ready.is_set() or application.gone:
            return
        most = application.h2.remote_settings.max_concurrent_streams
        # A stream has its number once its headers are sent, so that two that wait would have the same.
        while self._waiting and len(self._answers) < most and not application.paused:
            if self._refuses:
                self._refuse_waiting()
                return
            exchange = self._waiting.popleft()
            if exchange.up.done:
                continue
            stream = application.h2.get_next_available_stream_id()
            self._answers[stream] = exchange
            exchange.admitted(stream)

    @property
    def _refuses(self) -> bool:
        """Whether the application would not answer one more."""
        return self.application.h2.get_next_available_stream_id() > self._last_answered

    def _refuse_waiting(self) -> None:
        waiting = tuple(self._waiting)
        self._waiting.clear()
        for exchange in waiting:
            if not exchange.up.done:
                exchange.application_left(ErrorCodes.REFUSED_STREAM, self._error("goes away"))

    def over(self, exchange: Exchange) -> None:
        """See `exchange.Connections`."""
        self._requests.pop(exchange.down.stream, None)
        self._answers.pop(exchange.up.stream, None)
        self.busy_at = asyncio.get_running_loop().time()
        self._admit_waiting()
        self._close_if_idle()

    def write(self) -> None:
        """See `side.Bridge`."""
        self.client.write()
        self.application.write()

    def _close_if_idle(self) -> None:
        if self._leaving and not self._requests and not self.client.gone:
            self.write()
            self.client.close()

    def _error(self, what: str) -> UpstreamError:
        more = f": {self._failed}" if self._failed else ""
        return UpstreamError(502, f"the application at {self._proxy.upstream.address} {what}{more}")
