from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx_sidecar.mysql.packets import PAYLOAD_LENGTH_MAX, PacketError, frame
from globaltx_sidecar.mysql.reader import PacketReader

PAYLOADS = st.lists(st.binary(max_size=50), max_size=8)


def packets(data: bytes, *pieces: int) -> list[bytes]:
    """Read data that comes in pieces of these sizes, the last size again and again."""
    reader, other = PacketReader(1 << 26), PacketReader(1 << 26)
    found, at_once, position = [], [], 0
    sizes = list(pieces)
    while position < len(data):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        reader.feed(data[position : position + size])
        found += [packet.payload for packet in reader]
        at_once += list(other.payloads(data[position : position + size]))
        position += size
    assert reader.pending == other.pending == 0
    assert at_once == found
    return found


@given(PAYLOADS, st.lists(st.integers(1, 60), min_size=1, max_size=10))
def test_whole_and_in_any_pieces(payloads: list[bytes], pieces: list[int]) -> None:
    data = b"".join(frame(payload, number) for number, payload in enumerate(payloads))
    assert packets(data, len(data) or 1) == payloads
    assert packets(data, 1) == payloads
    assert packets(data, *pieces) == payloads


def test_sequence_numbers_and_raw_bytes() -> None:
    reader = PacketReader(100)
    reader.feed(frame(b"abc", 255) + frame(b"", 0) + b"\2")
    first, second = reader
    assert (first.sequence, first.next_sequence, first.raw) == (255, 0, frame(b"abc", 255))
    assert (second.sequence, second.payload) == (0, b"")
    assert reader.pending == 1
    assert reader.take_rest() == b"\2"
    assert reader.pending == 0


@pytest.mark.parametrize("size", [PAYLOAD_LENGTH_MAX - 1, PAYLOAD_LENGTH_MAX, PAYLOAD_LENGTH_MAX + 1])
def test_packets_of_sixteen_mebibytes(size: int) -> None:
    payload = b"x" * size
    reader = PacketReader(1 << 26)
    data = frame(payload, 3) + frame(b"next", 0)
    for start in range(0, len(data), 1 << 20):
        reader.feed(data[start : start + (1 << 20)])
    large, following = reader
    other = PacketReader(1 << 26)
    assert list(other.payloads(data)) == [payload, b"next"]
    assert large.payload == payload
    assert large.next_sequence == 4 + (size >= PAYLOAD_LENGTH_MAX)
    assert following.payload == b"next"


def test_a_packet_larger_than_allowed_is_not_waited_for() -> None:
    reader = PacketReader(1000)
    reader.feed(b"\xe9\3\0\0")
    with pytest.raises(PacketError, match="1001 bytes or more; 1000 are allowed"):
        reader.next_packet()
