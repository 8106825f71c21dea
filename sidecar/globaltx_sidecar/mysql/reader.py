"""From bytes, in whatever pieces they come, to whole packets.

A logical packet of 16 MiB or more travels as several; the reader puts it together. It holds
at most ``payload_length_max`` bytes of one packet, more is the peer's violation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.values import dataclass
from globaltx_sidecar.mysql.packets import HEADER_LENGTH, PAYLOAD_LENGTH_MAX, PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Packet:
    """A logical packet.

    ``sequence`` is that of its first piece, ``next_sequence`` what an answer carries.
    ``raw`` are the bytes as they came, headers included.
    """

    sequence: int
    payload: bytes
    next_sequence: int
    raw: bytes


class PacketReader:
    """Gathers bytes and gives whole packets."""

    def __init__(self, payload_length_max: int) -> None:
        self._payload_length_max = payload_length_max
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their packet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take in more bytes."""
        self._buffer += data

    def payloads(self, data: bytes) -> Iterator[bytes]:
        """Take in more bytes, and give the payloads of the packets that are whole.

        Packets that have come whole are cut out of ``data`` itself.

        Raises:
            PacketError: a packet is larger than allowed.
        """
        position = 0
        if not self._buffer:
            size = len(data)
            while (start := position + HEADER_LENGTH) <= size:
                length = data[position] | data[position + 1] << 8 | data[position + 2] << 16
                if start + length > size or length == PAYLOAD_LENGTH_MAX or length > self._payload_length_max:
                    break
                position = start + length
                yield data[start:position]
        self._buffer += data[position:]
        for packet in self:
            yield packet.payload

    def take_rest(self) -> bytes:
        """Give back what no packet was made of yet, and forget it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def __iter__(self) -> Iterator[Packet]:
        """Give the packets that are whole.

        Raises:
            PacketError: a packet is larger than allowed.
        """
        while (packet := self.next_packet()) is not None:
            yield packet

    def next_packet(self) -> Packet | None:
        """Give the next whole packet, or None while it is not.

        Raises:
            PacketError: it is larger than allowed.
        """
        spans: list[tuple[int, int]] = []
        position = total = 0
        while True:
            start = position + HEADER_LENGTH
            if start > len(self._buffer):
                return None
            length = int.from_bytes(self._buffer[position : position + 3], "little")
            total += length
            if total > self._payload_length_max:
                message = f"a packet of {total} bytes or more; {self._payload_length_max} are allowed here"
                raise PacketError(message)
            position = start + length
            if position > len(self._buffer):
                return None
            spans.append((start, position))
            if length < PAYLOAD_LENGTH_MAX:
                return self._cut(spans)

    def _cut(self, spans: list[tuple[int, int]]) -> Packet:
        raw = bytes(self._buffer[: spans[-1][1]])
        del self._buffer[: len(raw)]
        payload = b"".join(raw[start:end] for start, end in spans)
        return Packet(raw[3], payload, (raw[3] + len(spans)) & 0xFF, raw)
