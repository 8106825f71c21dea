"""A connection to the application: one request at a time, its body streamed, its answer streamed back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from globaltx_sidecar.http1.answers import CLOSED, SWITCHING, AnswerReader, End, Head, Switched
from globaltx_sidecar.http1.body import Body
from globaltx_sidecar.http1.heads import as_text, by_name, decoded
from globaltx_sidecar.http1.lost import LostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from multidict import CIMultiDict

    from globaltx_sidecar.http1.answers import Event
    from globaltx_sidecar.http1.heads import Pairs


class Reply:
    """An answer: its head, and its body as it comes in.

    ``connection`` is the one that it came by, which is the caller's after a 101; ``raw`` is all of it as it
    came, where it may be given on so (`AnswerReader.is_plain`), and empty otherwise.
    """

    __slots__ = ("_headers", "body", "connection", "head", "raw", "status")

    def __init__(self, head: Head, body: Body, connection: Connection, raw: bytes = b"") -> None:
        self.head, self.raw = head, raw
        self.status = head.status
        self.body = body
        self.connection = connection
        self._headers: CIMultiDict[str] | None = None

    @property
    def reason(self) -> str:
        """What stands behind the status."""
        return decoded(self.head.reason)

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers as they came, by name."""
        headers = self._headers
        if headers is None:
            headers = self._headers = by_name(self.head.headers)
        return headers

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """What stood behind the body, once that has ended."""
        return as_text(self.body.trailers)

    def close(self) -> None:
        """Want no more of it; to be called at the end, also of a whole one."""
        if not self.body.ended:
            self.connection.abort()


class Passage(Protocol):
    """A request that was sent as it came, for which nobody waits."""

    @property
    def takes(self) -> bool:
        """Whether its answer may be given on as it comes."""

    def answered(self, data: bytes) -> None:
        """All of its answer has come, which can be given on."""

    def slowly(self, connection: Connection, answer: asyncio.Future[Reply]) -> None:
        """Its answer has to be waited for, as after `Connection.ask`, or has failed."""

    def announce(self, head: Head) -> None:
        """There is an answer 1xx before it."""


class Connection(asyncio.Protocol):
    """A connection that is kept from request to request.

    ``over`` is called with it each time that a request and its answer are whole and another may follow,
    ``lost`` when it is gone, or has become its user's own by a switch of protocols.
    """

    def __init__(self, over: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._over, self._lost = over, lost
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._announce: Callable[[Head], None] | None = None
        self._body: Body | None = None
        self._raw = b""
        self._passage: Passage | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._sent = True
        self._used = self._touched = False
        self._wanted: Callable[[], object] | None = None
        self.active_at = self._loop.time()
        """When something was last read or written."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport; None before there is one and when it is gone."""
        return self._transport

    @property
    def usable(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def waits_for_application(self) -> bool:
        """Whether it is the application's turn to do something."""
        busy = self._answer is not None or self._body is not None or self._passage is not None
        return busy and self._sent and not (self._body is not None and self._body.waits)

    def ask(
        self,
        method: str,
        data: bytes,
        announce: Callable[[Head], None] | None,
        *,
        whole: bool,
        upgrade: bool = False,
    ) -> asyncio.Future[Reply]:
        """Send a request's head and what there is of its body; its answer comes later or fails (`LostError`).

        ``announce`` is told of answers 1xx before it. Unless ``whole``, `write` and `finish` follow.
        """
        self._reader.expect(method, upgrade=upgrade)
        self._sent, self._touched, self._announce = whole, False, announce
        self._answer = answer = self._loop.create_future()
        self._write(data)
        return answer

    def pass_on(self, method: str, data: bytes, passage: Passage) -> None:
        """Send a request whose answer goes back as it comes, if it can."""
        self._reader.expect(method)
        self._sent, self._touched, self._passage = True, False, passage
        self._write(data)

    async def write(self, data: bytes) -> None:
        """Send more of the request's body; returns when there is room for more.

        Raises:
            LostError: there is nobody to send it to.
        """
        self._write(data)
        await self._room.wait()

    def finish(self, data: bytes = b"") -> None:
        """Send the last of the request's body."""
        if data:
            self._write(data)
        self._sent = True
        self._maybe_over()

    def fail(self, error: Exception) -> None:
        """Give up the request under way, and the connection."""
        if self._passage is not None:
            self._wait(self._passage)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        if self._body is not None:
            self._body.fail(error)
        self._room.set()
        self._answer = self._body = None
        if self._wanted is not None:
            self._wanted()
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def watch(self, wanted: Callable[[], object] | None) -> None:
        """Call this when there is a whole answer, or none: the request's body is not wanted any more."""
        self._wanted = wanted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.active_at = self._loop.time()
        first, self._touched = not self._touched, True
        events = self._reader.feed(data)
        plain = first and len(events) > 1 and self._reader.is_plain(data, events)
        passage = self._passage
        if passage is not None:
            if plain and passage.takes:
                self._passage, self._used = None, True
                self._over(self)
                passage.answered(data)
                return
            self._wait(passage)
        self._raw = data if plain else b""
        for event in events:
            self._take(event)
        if self._reader.failed:
            self._break(self._reader.failed)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`; an answer may end with the connection."""
        if self._passage is not None:
            self._wait(self._passage)
        for event in self._reader.end():
            self._take(event)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._break((exc and str(exc)) or self._reader.failed or CLOSED)
        self._lost(self)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._room.set()
        self.active_at = self._loop.time()

    def _wait(self, passage: Passage) -> None:
        """The answer does not come in one go, or not so that it can be given on as it is."""
        self._passage = None
        self._announce = passage.announce
        self._answer = self._loop.create_future()
        passage.slowly(self, self._answer)

    def _write(self, data: bytes) -> None:
        self.active_at = self._loop.time()
        if self._transport is None:
            raise LostError(CLOSED)
        self._transport.write(data)

    def _take(self, event: Event) -> None:
        if isinstance(event, bytes):
            if self._body is not None:
                self._body.feed(event)
        elif isinstance(event, End):
            self._whole(event.trailers)
        elif isinstance(event, Switched):
            if self._body is not None:
                self._body.feed(event.begun)
        elif event.announces:
            if self._announce is not None:
                self._announce(event)
        else:
            self._begin(event)

    def _begin(self, head: Head) -> None:
        if self._transport is None or self._answer is None:
            return  # given up
        self._body = Body(self._transport)
        if not self._answer.done():
            self._answer.set_result(Reply(head, self._body, self, self._raw))
            self._raw = b""
        if head.status == SWITCHING:
            self._sent = False  # never to be used for another request
            self._transport.pause_reading()
            self._lost(self)
        self._answer = None

    def _whole(self, trailers: Pairs) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.end(trailers)
        if self._wanted is not None:
            self._wanted()
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._answer is not None or self._body is not None or self._transport is None:
            return
        if self._sent and self._reader.keeps and not self._reader.failed:
            self._used = True
            self._over(self)
        else:
            self._transport.close()

    def _break(self, said: str) -> None:
        untouched = self._used and not self._touched
        self.fail(LostError(said, untouched=untouched))
