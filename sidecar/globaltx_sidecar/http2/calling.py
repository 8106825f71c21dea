"""One unary call of gRPC that the sidecar makes itself, on whatever connection (`line`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from h2 import events
from h2.errors import ErrorCodes

from globaltx.values import dataclass
from globaltx_sidecar.http.headers import HOP_BY_HOP
from globaltx_sidecar.http1.heads import encoded
from globaltx_sidecar.http2.metadata import PREFIX_BYTES, is_one_message, value_of
from globaltx_sidecar.http2.outbox import Data, Head, Outbox

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.heads import Pairs
    from globaltx_sidecar.http2.side import Side

_OF_ITS_OWN = frozenset({*HOP_BY_HOP, "host", "content-length", "grpc-timeout"})
"""What a try's headers say of the try alone, should they be kept."""
ANSWER_BYTES_MAX = 64 * 1024
"""How large a body may be of which the message is told."""
_UNKNOWN = 2
_STATUS_MAX = 16
_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""What an answer without a grpc-status means:
https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: its grpc-status, what was said about that, and its message without the prefix.

    The message is empty where it is longer than `ANSWER_BYTES_MAX`, or is not one that was not compressed.
    """

    status: int
    said: str = ""
    message: bytes = b""


def status_of(status: str, grpc_status: str | None) -> int:
    """The grpc-status of an answer, whatever it lacks."""
    if grpc_status is not None and grpc_status.isdecimal() and int(grpc_status) <= _STATUS_MAX:
        return int(grpc_status)
    return _OF_HTTP.get(int(status), _UNKNOWN) if status.isdecimal() else _UNKNOWN


def _one(body: bytes | bytearray) -> bytes:
    """The one message of a body."""
    plain = body[:1] == b"\0" and len(body) <= ANSWER_BYTES_MAX and is_one_message(body)
    return bytes(body[PREFIX_BYTES:]) if plain else b""


def head_of(address: str, target: str, headers: CIMultiDict[str], seconds: float) -> Pairs:
    """The headers of a call."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", encoded(target)),
        (b":authority", encoded(address)),
        (b"te", b"trailers"),
        (b"grpc-timeout", f"{int(seconds * 1000)}m".encode()),
        *(
            (encoded(name.lower()), encoded(value))
            for name, value in headers.items()
            if name.lower() not in _OF_ITS_OWN
        ),
    ]


class NotTakenError(ConnectionError):
    """The application has not seen the call, so it can be made on another connection."""


class Call:
    """A call, from its first byte to the end of its answer; ``message`` has its prefix."""

    def __init__(self, head: Pairs, message: bytes) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.stream = 0
        """0 as long as it has not begun."""
        self.heard = -1
        """How much had come on its connection when it began; -1: that was a new one."""
        self._box: Outbox | None = None
        self._head = head
        self._message = message
        self._status = ""
        self._body = bytearray()

    def begin(self, side: Side) -> None:
        """Send the call."""
        self.stream = side.h2.get_next_available_stream_id()
        self._box = Outbox(side, self.stream, lambda _: None)
        self._box.start([Head(self._head), Data(self._message, end=True)])

    @property
    def over(self) -> bool:
        """Whether its stream has ended on both sides."""
        whole = self.answered.done() and not self.answered.cancelled() and self.answered.exception() is None
        return whole and self._box is not None and self._box.done

    def flush(self) -> None:
        """Send what there is room for."""
        if self._box is not None:
            self._box.flush()

    def received(self, event: Event) -> None:
        """A part of its answer has come, or something else of its stream."""
        match event:
            case events.WindowUpdated():
                self.flush()
            case events.ResponseReceived():
                self._status = value_of(event.headers, b":status") or ""
                self._read(event.headers, end=event.stream_ended is not None)
            case events.DataReceived():
                self._body += event.data[: ANSWER_BYTES_MAX + 1 - len(self._body)]
                self._read((), end=event.stream_ended is not None)
            case events.TrailersReceived():
                self._read(event.headers, end=True)
            case events.StreamReset():
                said = f"it reset the call (error {int(event.error_code)})"
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                self.fail(NotTakenError(said) if refused else ConnectionError(said))
            case _:
                pass  # priorities, answers before the answer

    def _read(self, pairs: Iterable[tuple[bytes, bytes]], *, end: bool) -> None:
        if end and not self.answered.done():
            status = status_of(self._status, value_of(pairs, b"grpc-status"))
            said = unquote(value_of(pairs, b"grpc-message") or "")
            self.answered.set_result(Answer(status, said, _one(self._body)))

    def fail(self, error: ConnectionError) -> None:
        """There will be no answer."""
        if not self.answered.done():
            self.answered.set_exception(error)
