"""Binary parameters as values; that the values mean the same to a server is shown in `test_at`."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.undo.literal import Text, Value
from globaltx_sidecar.mysql.packets import PacketError, lenenc
from globaltx_sidecar.mysql.parameters import read_parameters, types_of

HEAD = b"\x17\x07\0\0\0\0\x01\0\0\0"


def string(data: bytes) -> bytes:
    return lenenc(len(data)) + data


def execute(*parameters: tuple[int, int, bytes | None]) -> bytes:
    """An execute of (type, flags, written value or None)."""
    nulls = bytearray((len(parameters) + 7) // 8)
    for index, (_, _, value) in enumerate(parameters):
        nulls[index // 8] |= (value is None) << index % 8
    types = b"".join(bytes((kind, flags)) for kind, flags, _ in parameters)
    return HEAD + bytes(nulls) + b"\x01" + types + b"".join(value or b"" for _, _, value in parameters)


def values(payload: bytes, count: int, charset: str = "utf8mb4") -> tuple[Value, ...]:
    types = types_of(payload, count) or b""
    return read_parameters(payload, count, types, charset, {})


@pytest.mark.parametrize(
    ("kind", "flags", "written", "value"),
    [
        (1, 0, b"\xff", -1),
        (1, 0x80, b"\xff", 255),
        (2, 0, b"\x00\x80", -32768),
        (3, 0, b"\xfe\xff\xff\xff", -2),
        (8, 0, b"\x00" * 7 + b"\x80", -(2**63)),
        (8, 0x80, b"\xff" * 8, 2**64 - 1),
        (9, 0, b"\x01\0\0\0", 1),
        (13, 0, b"\xe8\x07", 2024),
        (4, 0, pack("<f", 0.1), 0.10000000149011612),
        (5, 0, pack("<d", 0.1), 0.1),
        (6, 0, b"", None),
        (246, 0, string(b"-12.340"), Decimal("-12.340")),
        (0, 0, string(b"NaN"), Text(b"NaN")),
        (253, 0, string("größer".encode()), Text("größer".encode())),
        (254, 0, string(b"\xff\x00"), b"\xff\x00"),
        (252, 0, string(b"abc"), b"abc"),
        (12, 0, b"\x00", Text(b"0000-00-00", "ascii")),
        (10, 0, b"\x04\xe8\x07\x02\x1d", Text(b"2024-02-29", "ascii")),
        (12, 0, b"\x07\xe8\x07\x02\x1d\x01\x02\x03", Text(b"2024-02-29 01:02:03", "ascii")),
        (7, 0, b"\x0b\xe8\x07\x02\x1d\x01\x02\x03\x05\0\0\0", Text(b"2024-02-29 01:02:03.000005", "ascii")),
        (11, 0, b"\x00", Text(b"00:00:00", "ascii")),
        (11, 0, b"\x08\x01\x22\0\0\0\x16\x3b\x3b", Text(b"-838:59:59", "ascii")),
        (11, 0, b"\x0c\x00\x00\0\0\0\x01\x02\x03\x40\x42\x0f\0", Text(b"01:02:03.1000000", "ascii")),
    ],
)
def test_every_type(kind: int, flags: int, written: bytes, value: Value) -> None:
    payload = execute((kind, flags, written))
    if kind == 6:
        assert values(payload, 1) == (None,)
    else:
        assert values(payload, 1) == (value,)


def test_nulls_and_more_than_eight() -> None:
    parameters: list[tuple[int, int, bytes | None]] = [
        (3, 0, pack("<i", n) if n % 3 else None) for n in range(20)
    ]
    assert values(execute(*parameters), 20) == tuple(n if n % 3 else None for n in range(20))


def test_types_of_an_earlier_execute() -> None:
    first = execute((3, 0, pack("<i", 5)), (253, 0, string(b"a")))
    types = types_of(first, 2)
    assert types == b"\x03\0\xfd\0"
    again = HEAD + b"\0" + b"\0" + pack("<i", 6) + string(b"b")
    assert types_of(again, 2) is None
    assert read_parameters(again, 2, types, "utf8mb4", {}) == (6, Text(b"b"))
    with pytest.raises(PacketError, match="carries 0 types"):
        read_parameters(again, 2, b"", "utf8mb4", {})


def test_long_data_is_not_in_the_payload() -> None:
    payload = execute((252, 0, b""), (3, 0, pack("<i", 5)))
    assert read_parameters(payload, 2, types_of(payload, 2) or b"", "utf8mb4", {0: b"long"}) == (b"long", 5)


@pytest.mark.parametrize(
    ("charset", "data", "binary"),
    [
        ("utf8mb4", "😀".encode(), False),
        ("utf8mb3", "😀".encode(), True),
        ("utf8mb3", "ö".encode(), False),
        ("utf8mb4", b"\xc3", True),
        ("latin1", b"\xc3", False),
        ("gbk", b"\xc3", False),
    ],
)
def test_strings_that_are_no_text(charset: str, data: bytes, *, binary: bool) -> None:
    payload = execute((253, 0, string(data)))
    assert values(payload, 1, charset) == ((data if binary else Text(data, charset)),)


@pytest.mark.parametrize(
    "payload",
    [
        execute((3, 0, b"\1\2\3")),
        execute((3, 0, b"\1\2\3\4\5")),
        execute((253, 0, b"\x05abc")),
        execute((12, 0, b"\x05abcde")),
        execute((77, 0, string(b"x"))),
        HEAD,
    ],
)
def test_what_is_no_execute(payload: bytes) -> None:
    with pytest.raises(PacketError):
        values(payload, 1)


@given(st.binary(max_size=60), st.integers(0, 12))
def test_no_bytes_break_it_otherwise(tail: bytes, count: int) -> None:
    payload = HEAD + tail
    with suppress(PacketError):
        assert len(values(payload, count)) == count
