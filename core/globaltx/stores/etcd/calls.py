"""One call of gRPC as far as it has come: what is still to be sent, what was answered; pure, no IO."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from globaltx.http2_frames import PeerError
from globaltx.stores.etcd import headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from globaltx.stores.etcd.errors import Status

WINDOW = 1 << 20
"""What may come of one call before it was taken, and how long a message may be that nobody waits for."""
_PREFIX_BYTES = 5


def message(content: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, its length first."""
    return b"\0" + len(content).to_bytes(4, "big") + content


class Call:
    """A call and its answer: ``messages`` that came, whole, and the ``status`` by which it has ended.

    ``lasts`` says that each message is told of as it comes, and not only the end.
    """

    __slots__ = (
        "_begun",
        "_bytes_max",
        "_held",
        "allowed",
        "lasts",
        "messages",
        "number",
        "owed",
        "send_window",
        "status",
        "unsent",
    )

    def __init__(self, number: int, send_window: int, bytes_max: int, *, lasts: bool) -> None:
        self.number = number
        self.lasts = lasts
        self.messages: deque[bytes] = deque()
        self.status: Status | None = None
        self.unsent = b""
        """What the peer has not been ready for."""
        self.send_window = send_window
        self.allowed = WINDOW
        """How many bytes the peer may still send."""
        self.owed = 0
        """How many of those that came it has not been told to have been taken."""
        self._begun = False
        self._bytes_max = bytes_max
        self._held = bytearray()

    @property
    def waits(self) -> bool:
        """Whether somebody could take more than has come."""
        return not self.lasts or not self.messages

    def headers(self, told: Mapping[bytes, bytes], *, last: bool) -> None:
        """Take in headers or trailers.

        Raises:
            PeerError: there were some already, and these are not the last.
        """
        if self._begun and not last:
            text = "an answer has headers in its middle"
            raise PeerError(text)
        if last:
            self._end(headers.status(told))
        elif not headers.is_informational(told):
            self._begun = True
            self.status = headers.refusal(told)

    def data(self, content: bytes, *, last: bool) -> None:
        """Take in a piece of the messages.

        Raises:
            PeerError: it is none, or one is longer than is allowed.
        """
        if not self._begun:
            text = "an answer has no headers"
            raise PeerError(text)
        held = self._held
        held += content
        while len(held) >= _PREFIX_BYTES:
            end = _PREFIX_BYTES + int.from_bytes(held[1:_PREFIX_BYTES], "big")
            if held[0] or end > self._bytes_max:
                text = f"a message is compressed, or longer than {self._bytes_max} bytes"
                raise PeerError(text)
            if len(held) < end:
                break
            self.messages.append(bytes(held[_PREFIX_BYTES:end]))
            del held[:end]
        if not self.lasts and len(self.messages) > 1:
            text = "a call has two answers"
            raise PeerError(text)
        if last:
            self._end(headers.status({}))

    def _end(self, status: Status) -> None:
        self.status = status
        if self._held and not status.code:
            text = "a message broke off"
            raise PeerError(text)
