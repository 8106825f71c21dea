"""Frames of HTTP/2 as bytes, https://www.rfc-editor.org/rfc/rfc9113#section-4; pure, no IO.

The store in etcd is spoken to in them, and the sidecar counts those that pass it and cuts between them.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, STREAMS_MAX, INITIAL_WINDOW, FRAME_BYTES, HEADER_BYTES = range(1, 7)
"""The settings, https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2."""
CANCEL = 0x8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES_MAX = 16384
"""What the payload of a frame may hold unless somebody allows more, and we do not."""
NUMBER_MAX = 2**31 - 1
"""The greatest window and the greatest number of a stream."""
_HEAD = Struct(">HBBBI")
HEAD_BYTES = _HEAD.size
_NUMBER = Struct(">I")
_SETTING = Struct(">HI")
_PRIORITY_BYTES = 5
_GOAWAY_BYTES = 8


class PeerError(Exception):
    """The peer sent what HTTP/2 or gRPC does not allow: nothing that it sends after that can be read."""


class Frame(NamedTuple):
    """One frame as it came, ``raw`` with its head."""

    kind: int
    flags: int
    stream: int
    raw: bytes

    @property
    def size(self) -> int:
        """How many bytes it carries behind its head."""
        return len(self.raw) - HEAD_BYTES

    @property
    def payload(self) -> bytes:
        """What it carries."""
        return self.raw[HEAD_BYTES:]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one; the payload has at most `FRAME_BYTES_MAX` bytes."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def number(value: int) -> bytes:
    """The payload of a WINDOW_UPDATE or an RST_STREAM."""
    return _NUMBER.pack(value)


def settings(values: dict[int, int]) -> bytes:
    """The payload of a SETTINGS."""
    return b"".join(_SETTING.pack(*each) for each in values.items())


def read_number(payload: bytes, size: int = 4) -> int:
    """The number that such a payload of ``size`` bytes begins with, without its reserved bit.

    Raises:
        PeerError: it has another size.
    """
    if len(payload) != size:
        message = f"a frame has {len(payload)} bytes and not {size}"
        raise PeerError(message)
    found: int = _NUMBER.unpack_from(payload)[0]
    return found & NUMBER_MAX


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in their order; those that are unknown too.

    Raises:
        PeerError: they are none.
    """
    if len(payload) % _SETTING.size:
        message = "a frame of settings broke off"
        raise PeerError(message)
    return list(_SETTING.iter_unpack(payload))


def content(found: Frame) -> bytes:
    """What DATA or HEADERS carry, without their padding and priority.

    Raises:
        PeerError: the padding is longer than the frame.
    """
    start, end = HEAD_BYTES, len(found.raw)
    if found.flags & PADDED:
        start += 1
        end -= found.raw[HEAD_BYTES] if found.size else 0
    if found.kind == HEADERS and found.flags & WITH_PRIORITY:
        start += _PRIORITY_BYTES
    if start > end:
        message = "the padding of a frame is longer than the frame"
        raise PeerError(message)
    return found.raw[start:end]


def goaway(last_stream: int = NUMBER_MAX, code: int = 0) -> bytes:
    """No more calls than those up to a stream, https://www.rfc-editor.org/rfc/rfc9113#section-6.8."""
    return frame(GOAWAY, 0, 0, number(last_stream) + number(code))


def last_stream_of(found: Frame) -> int:
    """The last stream that who sends a GOAWAY will answer.

    Raises:
        PeerError: it is too short.
    """
    if found.size < _GOAWAY_BYTES:
        message = f"a GOAWAY has {found.size} bytes and not {_GOAWAY_BYTES}"
        raise PeerError(message)
    return read_number(found.raw[HEAD_BYTES : HEAD_BYTES + _NUMBER.size])


class FrameReader:
    """Cuts what is fed into frames; it holds less than one between two calls."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, came: bytes) -> Iterator[Frame]:
        """The frames that are whole by now.

        Raises:
            PeerError: one is longer than allowed.
        """
        came = self._held + came if self._held else came
        at, end = 0, len(came)
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(came, at)
            size = high << 8 | low
            if size > FRAME_BYTES_MAX:
                message = f"a frame has {size} bytes, {FRAME_BYTES_MAX} are allowed"
                raise PeerError(message)
            behind = at + HEAD_BYTES + size
            if behind > end:
                break
            yield Frame(kind, flags, stream & NUMBER_MAX, came[at:behind])
            at = behind
        self._held = came[at:]
