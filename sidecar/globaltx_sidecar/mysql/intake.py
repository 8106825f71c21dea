"""The client's bytes that could not go on at once, cut into packets or pieces of them."""

from __future__ import annotations

from globaltx_sidecar.mysql.packets import HEADER_LENGTH, PAYLOAD_LENGTH_MAX
from globaltx_sidecar.mysql.reader import Packet


class Intake:
    """Holds back what the client sent; a packet that streams goes on in whatever pieces it comes."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._streaming = 0
        self.continues = False
        """The next packet continues the last one, which was of the largest length."""
        self.dropping = False
        """What streams, and what continues it, goes nowhere."""
        self.sequence = 0
        """Of the packet that streams."""

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._held)

    @property
    def between_commands(self) -> bool:
        """Whether the next byte of the client begins a command."""
        return not (self._held or self._streaming or self.continues)

    @property
    def length(self) -> int | None:
        """The length of the payload of the packet that comes next; None while that is not known."""
        if len(self._held) < HEADER_LENGTH:
            return None
        return int.from_bytes(self._held[:3], "little")

    @property
    def command(self) -> int | None:
        """The command that the packet begins with; None while it is not there."""
        return self._held[HEADER_LENGTH] if len(self._held) > HEADER_LENGTH else None

    def add(self, data: bytes) -> None:
        """Hold bytes back."""
        self._held += data

    def look(self, payload_bytes: int) -> bytes | None:
        """The next packet's header and so much of its payload; None while that much is not there."""
        size = HEADER_LENGTH + payload_bytes
        return bytes(self._held[:size]) if len(self._held) >= size else None

    def stream(self, length: int) -> None:
        """Let the next packet, whose payload has this length, go on in pieces (see `piece`)."""
        self.sequence = self._held[3]
        self._streaming = HEADER_LENGTH + length
        self.continues = length == PAYLOAD_LENGTH_MAX

    @property
    def dropped(self) -> bool:
        """Whether all that was to be dropped has been."""
        return self.dropping and not (self._streaming or self.continues)

    def piece(self) -> bytes:
        """Take what is there of a streaming packet."""
        data = self._take(self._streaming)
        self._streaming -= len(data)
        return data

    def packet(self, length: int) -> Packet:
        """Take the next packet, which is whole."""
        raw = self._take(HEADER_LENGTH + length)
        return Packet(raw[3], raw[HEADER_LENGTH:], (raw[3] + 1) & 0xFF, raw)

    def everything(self) -> bytes:
        """Take all there is: what follows are no commands."""
        self._streaming = 0
        self.continues = False
        return self._take(len(self._held))

    def _take(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[: len(data)]
        return data
