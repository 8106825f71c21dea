"""A connection of a client: one request at a time, its body streamed in, its answer streamed out.

What a client sends while a request of its is answered waits: of the request itself up to `body.BYTES_MAX`, of
what stands behind it what one read has brought. Nothing is read on before. So it is while a client does not
read its answers.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

from multidict import CIMultiDict

from globaltx_sidecar.http1.answers import End
from globaltx_sidecar.http1.body import Body, BrokenError
from globaltx_sidecar.http1.exchange import Request
from globaltx_sidecar.http1.heads import answer_head
from globaltx_sidecar.http1.lost import GoneError
from globaltx_sidecar.http1.requests import MalformedError, RequestReader, is_plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx_sidecar.http1.requests import Event, RequestHead

HEAD_SECONDS = 60.0
"""How long a head may take from its first byte to its last."""
SILENT_SECONDS = 630.0
"""How long a client may neither send of a body that it owes nor read of an answer."""
LINGER_SECONDS = 10.0
"""How long the rest of a request is read that nobody wants, so that its client sees the answer."""

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who keeps the connections."""

    leaving: bool
    """Whether no more requests are taken."""
    idle_seconds: float

    @property
    def handle(self) -> Callable[[Request], Awaitable[None]]:
        """What answers a request."""

    @property
    def pass_on(self) -> Callable[[Request], bool]:
        """What may take a request with `Request.raw` without a task of its own; False: it does not.

        It gives the answer by `Request.give_back`, or goes on by `Request.go_on`.
        """

    @property
    def malformed(self) -> Callable[[MalformedError], tuple[CIMultiDict[str], bytes]]:
        """What gives the headers and the body of an answer to what is no request."""

    def opened(self, connection: Inbound) -> None:
        """There is one more."""

    def closed(self, connection: Inbound) -> None:
        """One is gone, or is its user's own by a switch of protocols."""

    def survives(self, task: asyncio.Task[None]) -> None:
        """A request is being answered whose connection is gone."""


class Inbound(asyncio.Protocol):
    """A connection of a client, from its first request to its last."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None
        self.task: asyncio.Task[None] | None = None
        """What answers the request under way, or the last one."""
        self._discards = self._paused = self._leaves = False
        self._room = asyncio.Event()
        self._room.set()
        self.full = False
        """Whether there is no room for more of an answer at the moment."""
        self._unwritten = 0
        self.keeps = True
        """Whether another request is let in behind this one."""
        self._active_at = self._head_at = self._now()
        """When something was last read or written, and when the head under way began."""

    # What a request asks for.

    @property
    def gone(self) -> bool:
        """Whether there is no client."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            GoneError: there is nobody to send them to.
        """
        if self._transport is None or self._transport.is_closing():
            raise GoneError
        if data:
            self._active_at = self._now()
            self._transport.write(data)

    async def room(self) -> None:
        """Return when there is room for more."""
        await self._room.wait()

    @property
    def lasting(self) -> bool:
        """Whether another request may follow, so that its client need not be told otherwise."""
        return self.keeps and not self._owner.leaving

    def go_on(self, request: Request, handle: Callable[[Request], Awaitable[None]]) -> None:
        """Have a request answered by a task."""
        self.task = task = self._loop.create_task(self._serve(request, handle))
        if self._transport is None:
            self._owner.survives(task)

    def give_back(self, request: Request, data: bytes) -> None:
        """Send all of the answer to a request that no task has."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)  # when it was written `_over` notes
        self._served(request)

    def keep_no_longer(self) -> None:
        """Let no other request in."""
        self.keeps = False

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away, with what was not read.

        Raises:
            GoneError: there is none.
        """
        transport, self._transport = self._transport, None
        if transport is None:
            raise GoneError
        self._closed()
        if self._paused and not transport.is_closing():
            transport.resume_reading()
        return transport, self._reader.rest()

    # What its owner asks for.

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._request is None

    @property
    def active_at(self) -> float:
        """When something was last read or written, by the loop's clock."""
        return self._active_at

    def leave(self) -> None:
        """Take no more requests."""
        self.keeps = False
        if self.idle:
            self._leave()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def look(self) -> None:
        """End what has taken too long."""
        now = self._now()
        if self._transport is not None:
            unwritten, self._unwritten = self._unwritten, self._transport.get_write_buffer_size()
            if self._unwritten < unwritten:
                self._active_at = now
        silent = now - self._active_at
        if self._leaves or self._discards:
            if silent >= LINGER_SECONDS:
                self.abort()
        elif self._request is not None:
            self._look_at(self._request, silent)
        elif self._reader.begun and now - self._head_at >= HEAD_SECONDS:
            self._refuse(MalformedError(408, "the request's head did not come in time"))
        elif silent >= self._owner.idle_seconds:
            self.abort()

    def _look_at(self, request: Request, silent: float) -> None:
        if silent < SILENT_SECONDS:
            return
        if self.full:
            self.abort()
        elif request.owes_body and not request.body.waits:
            self.keeps = False
            request.body.fail(BrokenError(408, "it did not come in time"))

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._leaves:
            return
        if not self._discards:
            self._active_at = self._now()
        if not self._reader.begun:
            self._head_at = self._active_at
        self._take(self._reader.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self._transport = None
        self.resume_writing()
        if self._request is not None:
            self._request.body.fail(BrokenError(400, "the client closed the connection"))
        self._closed()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.full = True
        self._room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.full = False
        self._room.set()
        self._active_at = self._now()
        if self._request is None and self._reader.whole and not self._leaves:
            self._let_in()

    def _closed(self) -> None:
        if self.task is not None and not self.task.done():
            self._owner.survives(self.task)
        self._owner.closed(self)

    def _take(self, events: list[Event]) -> None:
        begun = None
        for event in events:
            if isinstance(event, bytes):
                if self._request is not None:
                    self._request.body.feed(event)
            elif isinstance(event, End):
                self._came(event)
            else:
                begun = self._begun(event)
        if begun is not None:
            self._start(begun)
        if self._reader.failed is not None:
            self._fail(self._reader.failed)
        elif self._reader.unread and not self._paused:
            self._pause()

    def _begun(self, head: RequestHead) -> Request | None:
        if self._transport is None:
            return None
        self.keeps = head.keeps and not self._owner.leaving
        self._request = request = Request(head, Body(self._transport), self)
        return request

    def _start(self, request: Request) -> None:
        raw = self._reader.as_it_came()
        if is_plain(request.head, raw):
            request.raw = raw
        try:
            passed = bool(request.raw) and self._owner.pass_on(request)
        except Exception:  # noqa: BLE001  see `_serve`
            self._failed(request)
            self._served(request)
        else:
            if not passed:
                self.go_on(request, self._owner.handle)

    def _came(self, end: End) -> None:
        if self._request is not None:
            self._request.body.end(end.trailers)
        if self._discards:
            self._discards = False
            self._over()

    async def _serve(self, request: Request, handle: Callable[[Request], Awaitable[None]]) -> None:
        try:
            await handle(request)
        except GoneError:
            pass  # it will not hear of it
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception:  # noqa: BLE001  a bug that one request found is kept away from all others
            self._failed(request)
        self._served(request)

    def _failed(self, request: Request) -> None:
        _log.exception("a request could not be answered")
        if not request.answered and not self.gone:
            request.answer(500, "Internal Server Error", CIMultiDict(), close=True)

    def _served(self, request: Request) -> None:
        """Its answer was given, or broke off; nothing is to be done where the connection is gone."""
        if self._transport is None:
            return
        if not request.ended:
            self._break_off(request)
        elif request.body.ended or not self.keeps:
            self._over()
        else:
            self._discards = True
            self._active_at = self._now()
            request.body.discard()

    def _break_off(self, request: Request) -> None:
        self._request = None
        if request.cut_off:
            self.abort()
        elif self._transport is not None:
            self._transport.close()

    def _over(self) -> None:
        """Let the next request in, or the client go."""
        request, self._request = self._request, None
        if not self.keeps or self._owner.leaving or self._reader.failed is not None:
            self._leave(whole=request is None or request.body.ended)
            return
        self._head_at = self._active_at = self._now()
        if not self.full:  # or else `resume_writing` does it
            self._let_in()

    def _let_in(self) -> None:
        if not self.gone:
            self._resume()
            events = self._reader.proceed()
            if events or self._reader.failed is not None:
                self._take(events)

    def _leave(self, *, whole: bool = True) -> None:
        """Close; what is still to come of a request is read for a while, or else its answer would be lost."""
        if self._transport is None or self._transport.is_closing() or self._leaves:
            return
        if whole and not self._reader.unread and self._reader.failed is None:
            self._transport.close()
            return
        self._leaves = True
        self._active_at = self._now()
        self._reader.rest()
        self._transport.write_eof()
        self._transport.resume_reading()

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _fail(self, error: MalformedError) -> None:
        """What came is no HTTP, or none that can be passed on."""
        self.keeps = False
        if self._leaves:
            return
        if self._request is None:
            self._refuse(error)
        elif self._discards:
            self._discards = False
            self._over()
        else:
            self._request.body.fail(BrokenError(error.status, str(error)))

    def _refuse(self, error: MalformedError) -> None:
        headers, body = self._owner.malformed(error)
        headers["Connection"], headers["Content-Length"] = "close", str(len(body))
        if not self.gone:
            self.write(answer_head(error.status, HTTPStatus(error.status).phrase, headers) + body)
            self._leave(whole=False)
