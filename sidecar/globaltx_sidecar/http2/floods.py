"""How often a peer may do what costs it nothing and us something.

Each connection has two allowances that fill up with time: one for requests that are taken back (rapid reset,
CVE-2023-44487), and one for frames that ask for nothing (PING, SETTINGS, PRIORITY, empty DATA and the like,
CVE-2019-9512 and its kin). What is within them an honest peer never exceeds. Pure: ``now`` is seconds of
any clock.
"""

from __future__ import annotations

from globaltx import http2_frames as frames
from globaltx_sidecar.allowance import Allowance

RESETS_MAX = 200
RESETS_A_SECOND = 50.0
IDLE_FRAMES_MAX = 2000
IDLE_FRAMES_A_SECOND = 500.0
CONTINUATIONS_MAX = 16
"""After one HEADERS frame; what 64 KiB of headers can take is a quarter of it."""

_IDLE = frozenset({frames.PRIORITY, frames.SETTINGS, frames.PING})
_KNOWN = frames.CONTINUATION


class FloodError(Exception):
    """The peer does something so often that it must be an attack."""


class Floods:
    """What one peer has done on one connection."""

    def __init__(self) -> None:
        self._resets = Allowance(RESETS_MAX, RESETS_A_SECOND)
        self._idle = Allowance(IDLE_FRAMES_MAX, IDLE_FRAMES_A_SECOND)
        self._continuations = 0

    def frame(self, frame: frames.Frame, now: float) -> None:
        """Count a frame.

        Raises:
            FloodError: it is one too many.
        """
        kind = frame.kind
        if kind == frames.CONTINUATION:
            self._continuations += 1
            if self._continuations > CONTINUATIONS_MAX:
                message = f"more than {CONTINUATIONS_MAX} CONTINUATION frames for one request's headers"
                raise FloodError(message)
            return
        self._continuations = 0
        if _is_idle(frame) and not self._idle.take(now):
            message = "too many frames that ask for nothing (PING, SETTINGS, PRIORITY, empty DATA)"
            raise FloodError(message)

    def reset(self, now: float) -> None:
        """Count a request that the peer took back, or made us take back.

        Raises:
            FloodError: it is one too many.
        """
        if not self._resets.take(now):
            message = "too many requests were taken back"
            raise FloodError(message)


def _is_idle(frame: frames.Frame) -> bool:
    if frame.kind == frames.DATA:
        return not frame.size and not frame.flags & frames.END_STREAM
    return frame.kind in _IDLE or frame.kind > _KNOWN
