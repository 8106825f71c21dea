"""Where frames begin and end: https://www.rfc-editor.org/rfc/rfc9113#section-4.1.

`h2` reads what is in them. Looked at here is what it does not tell: how many there are of a kind, and a
GOAWAY, after which `h2` reads nothing more although the requests under way go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES = 9
FRAME_BYTES_MAX = 16 * 1024
"""What a frame may hold; we ask for no more than every peer must be content with."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
LAST_STREAM = 2**31 - 1
_GOAWAY_BYTES = 8


class BrokenFrameError(Exception):
    """What came is no frame, or a larger one than was agreed on."""


class Frame(NamedTuple):
    """A frame as it came, its head included."""

    kind: int
    flags: int
    raw: bytes


class Frames:
    """Cuts bytes into frames, however they come; keeps at most one unfinished frame."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are whole now.

        Raises:
            BrokenFrameError: what came can be none.
        """
        begun = self._begun
        begun += data
        while len(begun) >= HEAD_BYTES:
            length = int.from_bytes(begun[:3], "big")
            if length > FRAME_BYTES_MAX:
                message = f"a frame of {length} bytes, at most {FRAME_BYTES_MAX} were agreed on"
                raise BrokenFrameError(message)
            if len(begun) < HEAD_BYTES + length:
                return
            raw = bytes(begun[: HEAD_BYTES + length])
            del begun[: HEAD_BYTES + length]
            yield Frame(raw[3], raw[4], raw)


def last_stream_of(goaway: Frame) -> int:
    """The last stream that who sends a GOAWAY will answer.

    Raises:
        BrokenFrameError: it is too short.
    """
    if len(goaway.raw) < HEAD_BYTES + _GOAWAY_BYTES:
        message = "a GOAWAY that is too short"
        raise BrokenFrameError(message)
    return int.from_bytes(goaway.raw[HEAD_BYTES : HEAD_BYTES + 4], "big") & LAST_STREAM


def goaway(last_stream: int = LAST_STREAM, code: int = 0) -> bytes:
    """A GOAWAY: no more requests than those up to a stream, https://www.rfc-editor.org/rfc/rfc9113#section-6.8."""
    payload = last_stream.to_bytes(4, "big") + code.to_bytes(4, "big")
    return len(payload).to_bytes(3, "big") + bytes([GOAWAY, 0]) + bytes(4) + payload
