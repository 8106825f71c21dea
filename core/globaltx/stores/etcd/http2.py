"""A client's side of one HTTP/2 connection, https://www.rfc-editor.org/rfc/rfc9113; pure, no IO.

As much of it as gRPC takes: calls side by side, each a message there and messages back, with flow control
both ways. What the peer pushes, weighs or invents is refused or left alone, as the standard has it.
Memory is bounded by what we allow: `calls.WINDOW` for each call whose answers nobody takes, and the longest
message for one that somebody waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.http2_frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    FRAME_BYTES_MAX,
    GOAWAY,
    HEADER_BYTES,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW,
    NUMBER_MAX,
    PING,
    PREFACE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAMS_MAX,
    WINDOW_UPDATE,
    FrameReader,
    PeerError,
    content,
    frame,
    last_stream_of,
    number,
    read_number,
    read_settings,
    settings,
)
from globaltx.stores.etcd import headers
from globaltx.stores.etcd.calls import WINDOW, Call, message
from globaltx.stores.etcd.errors import UNAVAILABLE, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.http2_frames import Frame

POOL = 16 << 20
"""What may be under way to us for all calls together."""
_DEFAULT_WINDOW = 65535
_PING_BYTES = 8
_REFUSED_STREAM = 0x7
REPLIES_MAX = 1000
"""To how many frames we may owe a reply that were not asked for; no peer needs so many at once."""


class Conversation:
    """What was said and heard on a connection; feed it, and send what ``take`` gives.

    ``greeted`` tells whether the peer has said that it speaks HTTP/2.
    ``usable`` tells whether another call may begin: the peer has not said that it goes away, and does
    not do as many as it can already.
    """

    def __init__(self) -> None:
        ours = {
            HEADER_TABLE_SIZE: 0,
            ENABLE_PUSH: 0,
            INITIAL_WINDOW: WINDOW,
            HEADER_BYTES: headers.BLOCK_BYTES_MAX,
        }
        self.calls: dict[int, Call] = {}
        self.leaving = False
        self._out = [PREFACE, frame(SETTINGS, 0, 0, settings(ours))]
        self._out.append(frame(WINDOW_UPDATE, 0, 0, number(POOL - _DEFAULT_WINDOW)))
        self._pongs: list[bytes] = []
        self._replies = 0
        self._reader = FrameReader()
        self._next = 1
        self.greeted = False
        self._block: tuple[int, int, bytes] | None = None
        """Headers that go on in another frame: whose, with which flags, and what of them has come."""
        self._allowed, self._owed = POOL, 0
        self._send_window = self._first_window = _DEFAULT_WINDOW
        self._streams_max = NUMBER_MAX
        self._changed: dict[int, Call] = {}
        self._by_kind: dict[int, Callable[[Frame], None]] = {
            DATA: self._data,
            HEADERS: self._headers,
            CONTINUATION: self._continued,
            RST_STREAM: self._reset,
            SETTINGS: self._settings,
            PING: self._ping,
            GOAWAY: self._go_away,
            WINDOW_UPDATE: self._window,
            PUSH_PROMISE: self._pushed,
        }

    @property
    def usable(self) -> bool:
        """Whether another call may begin."""
        return not self.leaving and len(self.calls) < self._streams_max and self._next < NUMBER_MAX

    @property
    def has_to_say(self) -> bool:
        """Whether there is anything to `take` beside answers to pings."""
        return bool(self._out)

    @property
    def owes_pongs(self) -> bool:
        """Whether the peer waits for the answer to a ping."""
        return bool(self._pongs)

    def take(self, *, pongs: bool = True) -> bytes:
        """What is to be sent now; without ``pongs`` answers to pings stay for another time."""
        if pongs and self._pongs:
            self._out += self._pongs
            self._pongs.clear()
        self._replies = len(self._pongs)
        if not self._out:
            return b""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def begin(self, block: bytes, request: bytes, bytes_max: int, *, lasts: bool = False) -> Call:
        """Begin a call with these headers; ``bytes_max`` bounds each message of its answer.

        One that ``lasts`` leaves its own side open, as long as it does.
        """
        call = Call(self._next, self._first_window, bytes_max, lasts=lasts)
        self._next += 2
        self.calls[call.number] = call
        self._out.append(frame(HEADERS, END_HEADERS, call.number, block))
        call.unsent = message(request)
        self._send(call)
        return call

    def leave(self, call: Call) -> None:
        """Let a call be; the peer is told if it has not ended."""
        if self.calls.pop(call.number, None) is not None:
            self._out.append(frame(RST_STREAM, 0, call.number, number(CANCEL)))

    def next(self, call: Call) -> bytes | None:
        """The next message of a call; None where none has come whole. The peer may then send more."""
        if not call.messages:
            return None
        found = call.messages.popleft()
        self._allow_more(call)
        return found

    def feed(self, came: bytes) -> list[Call]:
        """Take in what came; the calls that have ended, or got a message and last.

        Raises:
            PeerError: it is not what HTTP/2 or gRPC allows.
        """
        for each in self._reader.feed(came):
            if not self.greeted and (each.kind != SETTINGS or each.flags & ACK):
                text = "it does not speak HTTP/2"
                raise PeerError(text)
            if self._block is not None and each.kind != CONTINUATION:
                text = "headers were interrupted"
                raise PeerError(text)
            if (take_in := self._by_kind.get(each.kind)) is not None:
                take_in(each)
        if not self._changed:
            return []
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def _of(self, stream: int) -> Call | None:
        """The call of that number; None if it has ended.

        Raises:
            PeerError: there has never been one.
        """
        if not stream % 2 or stream >= self._next:
            text = f"there is no call of the number {stream}"
            raise PeerError(text)
        return self.calls.get(stream)

    def _data(self, came: Frame) -> None:
        call, size = self._of(came.stream), came.size
        self._allowed -= size
        self._owed += size
        if self._allowed < 0:
            text = "more came than was allowed"
            raise PeerError(text)
        if self._owed > POOL // 2:
            self._out.append(frame(WINDOW_UPDATE, 0, 0, number(self._owed)))
            self._allowed, self._owed = self._allowed + self._owed, 0
        if call is None:
            return  # what was under way when we left it
        call.allowed -= size
        call.owed += size
        if call.allowed < 0:
            text = "more came of a call than was allowed"
            raise PeerError(text)
        call.data(content(came), last=bool(came.flags & END_STREAM))
        self._after(call, ended=bool(came.flags & END_STREAM))
        self._allow_more(call)

    def _allow_more(self, call: Call) -> None:
        """Let the peer send more of a call: what is here has been taken, or is no whole message."""
        if call.owed > WINDOW // 2 and call.waits and call.number in self.calls:
            self._out.append(frame(WINDOW_UPDATE, 0, call.number, number(call.owed)))
            call.allowed, call.owed = call.allowed + call.owed, 0

    def _headers(self, came: Frame) -> None:
        call = self._of(came.stream)
        if came.flags & END_HEADERS:
            self._whole(call, came.flags, content(came))
        else:
            self._gather(came.stream, came.flags, content(came))

    def _continued(self, came: Frame) -> None:
        if self._block is None or came.stream != self._block[0]:
            text = "headers go on that have not begun"
            raise PeerError(text)
        stream, flags, block = self._block
        block += came.payload
        if came.flags & END_HEADERS:
            self._block = None
            self._whole(self._of(stream), flags, block)
        else:
            self._gather(stream, flags, block)

    def _gather(self, stream: int, flags: int, block: bytes) -> None:
        """Keep the headers of a call that go on in another frame."""
        _check_block(block)
        self._block = stream, flags, block

    def _whole(self, call: Call | None, flags: int, block: bytes) -> None:
        """Take in the headers of a call, which have come whole."""
        _check_block(block)
        if call is not None:
            last = bool(flags & END_STREAM)
            call.headers(headers.answer(block), last=last)
            self._after(call, ended=last)

    def _after(self, call: Call, *, ended: bool) -> None:
        """Tell of a call what is worth it, and let those go that are over."""
        if ended:
            del self.calls[call.number]
            if call.unsent or call.lasts:  # our side is still open
                self._out.append(frame(RST_STREAM, 0, call.number, number(CANCEL)))
        elif call.status is not None:
            self.leave(call)
        elif not call.lasts or not call.messages:
            return
        self._changed[call.number] = call

    def _reset(self, came: Frame) -> None:
        call, code = self._of(came.stream), read_number(came.payload)
        if call is None:
            return
        del self.calls[call.number]
        done = ", before it was begun" if code == _REFUSED_STREAM else ""
        call.status = Status(UNAVAILABLE, f"the member has ended the call (code {code}{done})")
        self._changed[call.number] = call

    def _settings(self, came: Frame) -> None:
        self.greeted = True
        if came.flags & ACK:
            return
        self._reply(self._out, frame(SETTINGS, ACK, 0))  # before what they make possible
        for name, value in read_settings(came.payload):
            if name == INITIAL_WINDOW:
                self._new_window(value)
            elif name == STREAMS_MAX:
                self._streams_max = value
            elif name == FRAME_BYTES and value < FRAME_BYTES_MAX:
                text = f"the peer takes no frames of {FRAME_BYTES_MAX} bytes"
                raise PeerError(text)

    def _new_window(self, value: int) -> None:
        _check_window(value)
        more, self._first_window = value - self._first_window, value
        for call in tuple(self.calls.values()):
            call.send_window += more
            _check_window(call.send_window)
            self._send(call)

    def _ping(self, came: Frame) -> None:
        if came.size != _PING_BYTES:
            text = f"a ping has {came.size} bytes"
            raise PeerError(text)
        if not came.flags & ACK:
            self._reply(self._pongs, frame(PING, ACK, 0, came.payload))

    def _reply(self, to: list[bytes], what: bytes) -> None:
        self._replies += 1
        if self._replies > REPLIES_MAX:
            text = "it asks for more replies than it takes"
            raise PeerError(text)
        to.append(what)

    def _go_away(self, came: Frame) -> None:
        """Begin no call any more; those that the peer has not begun end here."""
        last = last_stream_of(came)
        self.leaving = True
        for call in [each for each in self.calls.values() if each.number > last]:
            del self.calls[call.number]
            call.status = Status(UNAVAILABLE, "the member goes away, before the call was begun")
            self._changed[call.number] = call

    def _window(self, came: Frame) -> None:
        more = read_number(came.payload)
        if came.stream and self._of(came.stream) is None:
            return
        if not more:
            text = "a window was opened by nothing"
            raise PeerError(text)
        if came.stream:
            call = self.calls[came.stream]
            call.send_window += more
            _check_window(call.send_window)
            self._send(call)
            return
        self._send_window += more
        _check_window(self._send_window)
        for call in tuple(self.calls.values()):
            self._send(call)

    def _pushed(self, _came: Frame) -> None:
        text = "it pushes what nobody has asked for"
        raise PeerError(text)

    def _send(self, call: Call) -> None:
        """Send of a call's request what both windows are open for."""
        while call.unsent:
            size = min(len(call.unsent), call.send_window, self._send_window, FRAME_BYTES_MAX)
            if size <= 0:
                return
            piece, call.unsent = call.unsent[:size], call.unsent[size:]
            call.send_window -= size
            self._send_window -= size
            flags = 0 if call.unsent or call.lasts else END_STREAM
            self._out.append(frame(DATA, flags, call.number, piece))


def _check_block(block: bytes) -> None:
    if len(block) > headers.BLOCK_BYTES_MAX:
        text = f"headers are longer than {headers.BLOCK_BYTES_MAX} bytes"
        raise PeerError(text)


def _check_window(size: int) -> None:
    if size > NUMBER_MAX:
        text = "a window was opened too far"
        raise PeerError(text)
