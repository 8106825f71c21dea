from __future__ import annotations

import pytest
from aetcd.rpc import rpc_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as some

from globaltx.stores.etcd.protobuf import MessageError, integer, piece, read, text, varint

NUMBERS = some.integers(1, 2**29 - 1)
FIELDS = some.lists(
    some.one_of(
        some.builds(integer, NUMBERS, some.integers(0, 2**64 - 1)),
        some.builds(piece, NUMBERS, some.binary(max_size=300)),
        some.builds(text, NUMBERS, some.text(max_size=300)),
    )
)


@given(FIELDS)
def test_what_is_written_is_a_message_that_the_library_reads(fields: list[bytes]) -> None:
    read(b"".join(fields))
    rpc_pb2.ResponseHeader.FromString(b"".join(_unknown(each) for each in fields))


def _unknown(field: bytes) -> bytes:
    """The field as one within a message's unknown ones: the numbers of a header are its own."""
    return piece(1000, field)


@given(some.integers(0, 2**64 - 1))
def test_numbers_come_back(value: int) -> None:
    assert rpc_pb2.ResponseHeader.FromString(integer(1, value)).cluster_id == value
    signed = read(integer(3, value)).integer(3)
    assert signed % 2**64 == value
    assert rpc_pb2.ResponseHeader(revision=signed).SerializeToString() == integer(3, value)


@given(some.binary(max_size=64))
def test_no_bytes_are_read_that_the_library_refuses(raw: bytes) -> None:
    """The other way round it may differ: what we do not ask for may be of any form."""
    try:
        told = read(raw)
    except MessageError:
        return
    for number in range(1, 5):
        told.integer(number), told.text(number), told.pieces(number)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x08",
        b"\x08\x80",
        b"\x0a\x05abc",
        b"\x0a",
        b"\x09\x00\x00",
        b"\x0d\x00",
        b"\x0b",
        b"\x0c",
        b"\x0f\x00",
        b"\x80" * 11,
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x0a" + b"\xff" * 9 + b"\x01",
    ],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        read(raw)
    with pytest.raises(DecodeError):
        rpc_pb2.TxnRequest.FromString(raw)


def test_fields_that_nobody_knows_are_passed_over() -> None:
    told = read(b"\x09" + bytes(8) + b"\x15" + bytes(4) + text(7, "a") + text(7, "b") + integer(8, 5))
    assert (told.text(7), told.pieces(7), told.integer(8)) == ("b", [b"a", b"b"], 5)
    assert (told.text(1), told.integer(7), 8 in told, 1 in told) == ("", 0, True, False)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**32, 2**63])
def test_numbers_are_as_short_as_they_can_be(value: int) -> None:
    assert len(varint(value)) == max(1, -(-value.bit_length() // 7))
