"""One unary call of gRPC that the sidecar makes itself, over a connection of its own.

The application is on loopback and calls are few, so nothing is gained by keeping connections: one that is
made for the call needs nobody to find out whether it is still alive.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from h2 import events

from globaltx.values import dataclass
from globaltx_sidecar.http.headers import HOP_BY_HOP
from globaltx_sidecar.http.upstream import UpstreamError, told
from globaltx_sidecar.http1.heads import encoded
from globaltx_sidecar.http2.metadata import PREFIX_BYTES, is_one_message, value_of
from globaltx_sidecar.http2.outbox import Data, Head, Outbox
from globaltx_sidecar.http2.side import Side

if TYPE_CHECKING:
    from collections.abc import Iterable

    from h2.events import Event
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.heads import Pairs

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


async def call(
    address: str, target: str, headers: CIMultiDict[str], message: bytes, seconds: float
) -> Answer:
    """Make a call and return its answer; ``message`` has its prefix.

    Raises:
        UpstreamError: there is no answer within the time.
    """
    host, _, port = address.rpartition(":")
    calling = _Calling(_head(address, target, headers, seconds), message)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_connection(lambda: calling.side, host, int(port))
            return await calling.answered
    except TimeoutError as error:
        said = f"the application at {address} did not answer within {seconds:g} s"
        raise UpstreamError(504, said) from error
    except OSError as error:
        raise UpstreamError(502, f"the application at {address} gave no answer: {told(error)}") from error
    finally:
        calling.answered.cancel()  # nobody waits for it any more
        calling.side.abort("it is over")


def status_of(status: str, grpc_status: str | None) -> int:
    """The grpc-status of an answer, whatever it lacks."""
    if grpc_status is not None and grpc_status.isdecimal() and int(grpc_status) <= _STATUS_MAX:
        return int(grpc_status)
    return _OF_HTTP.get(int(status), _UNKNOWN) if status.isdecimal() else _UNKNOWN


def _one(body: bytes | bytearray) -> bytes:
    """The one message of a body."""
    plain = body[:1] == b"\0" and len(body) <= ANSWER_BYTES_MAX and is_one_message(body)
    return bytes(body[PREFIX_BYTES:]) if plain else b""


def _head(address: str, target: str, headers: CIMultiDict[str], seconds: float) -> Pairs:
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


class _Calling:
    """The call; implements `globaltx_sidecar.http2.side.Bridge` for its one connection."""

    def __init__(self, head: Pairs, message: bytes) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.side = Side(self, towards_client=False)
        self._box = Outbox(self.side, 0, lambda _: None)
        self._head = head
        self._message = message
        self._status = ""
        self._body = bytearray()

    def received(self, side: Side, event: Event) -> None:
        """See `side.Bridge`."""
        match event:
            case events.RemoteSettingsChanged():
                self._begin()
            case events.WindowUpdated():
                self._box.flush()
            case events.ResponseReceived():
                self._status = value_of(event.headers, b":status") or ""
                self._read(event.headers, end=event.stream_ended is not None)
            case events.DataReceived():
                side.acknowledge(event.stream_id, event.flow_controlled_length)
                self._body += event.data[: ANSWER_BYTES_MAX + 1 - len(self._body)]
                self._read((), end=event.stream_ended is not None)
            case events.TrailersReceived():
                self._read(event.headers, end=True)
            case events.StreamReset():
                self._fail(f"it reset the call (error {int(event.error_code)})")
            case _:
                pass  # acknowledgements, pings, priorities, answers before the answer

    def _begin(self) -> None:
        """Send the call, once; whoever is on the other side has said that it speaks HTTP/2."""
        if not self._box.open:
            self._box.stream = self.side.h2.get_next_available_stream_id()
            self._box.start([Head(self._head), Data(self._message, end=True)])
        self._box.flush()

    def _read(self, pairs: Iterable[tuple[bytes, bytes]], *, end: bool) -> None:
        if end and not self.answered.done():
            status = status_of(self._status, value_of(pairs, b"grpc-status"))
            said = unquote(value_of(pairs, b"grpc-message") or "")
            self.answered.set_result(Answer(status, said, _one(self._body)))

    def goes_away(self, side: Side, last_stream: int) -> None:
        """See `side.Bridge`."""
        if not self._box.open or self._box.stream > last_stream:
            self._fail("it goes away")
            side.close()

    def flush(self, side: Side) -> None:
        """See `side.Bridge`; there is one."""
        del side
        self._box.flush()

    def write(self) -> None:
        """See `side.Bridge`."""
        self.side.write()

    def lost(self, side: Side, why: str) -> None:
        """See `side.Bridge`."""
        self._fail(why if side.speaks else f"it speaks no HTTP/2: {why}")

    def _fail(self, why: str) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(why))
