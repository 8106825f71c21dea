from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx_sidecar.mysql.packets import (
    PAYLOAD_LENGTH_MAX,
    Err,
    Ok,
    PacketError,
    Status,
    frame,
    lenenc,
    parse_eof,
    parse_err,
    parse_ok,
    parse_prepare_ok,
    parse_row,
    read_lenenc,
    read_lenenc_bytes,
    statement_id_of,
)

U64 = st.integers(0, 2**64 - 1)
U16 = st.integers(0, 2**16 - 1)


@given(U64, st.binary(max_size=5))
def test_length_encoded_integers_come_back(value: int, behind: bytes) -> None:
    assert read_lenenc(lenenc(value) + behind, 0) == (value, len(lenenc(value)))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, b"\0"),
        (250, b"\xfa"),
        (251, b"\xfc\xfb\0"),
        (65535, b"\xfc\xff\xff"),
        (65536, b"\xfd\0\0\1"),
        (1 << 24, b"\xfe\0\0\0\1\0\0\0\0"),
    ],
)
def test_length_encoded_integers_by_example(value: int, written: bytes) -> None:
    assert lenenc(value) == written


@pytest.mark.parametrize("data", [b"", b"\xfb", b"\xff", b"\xfc\1", b"\xfd\1\1", b"\xfe\1\1\1\1\1\1\1"])
def test_what_is_no_length_encoded_integer(data: bytes) -> None:
    with pytest.raises(PacketError):
        read_lenenc(data, 0)


def test_a_string_that_is_cut_off() -> None:
    with pytest.raises(PacketError, match="says 5 bytes, 3 are left"):
        read_lenenc_bytes(b"\x05abc", 0)


@given(U64, U64, U16, U16, st.binary(max_size=50), st.sampled_from([0, 0xFE]))
def test_ok_comes_back(
    affected: int, insert_id: int, status: int, warnings: int, tail: bytes, header: int
) -> None:
    ok = Ok(affected, insert_id, status, warnings, tail, header)
    assert parse_ok(ok.encode()) == ok


@given(st.integers(0, 100))
def test_an_ok_that_is_cut_off(keep: int) -> None:
    whole = Ok(70_000, 300, 2, 1).encode()
    if keep < len(whole):
        with pytest.raises(PacketError):
            parse_ok(whole[:keep])
    else:
        parse_ok(whole[:keep])


def test_status_flags_change_alone() -> None:
    ok = Ok(3, 4, Status.IN_TRANS | Status.AUTOCOMMIT | Status.MORE_RESULTS_EXISTS, 5, b"tail")
    changed = ok.with_status(set_=Status.CURSOR_EXISTS, clear=Status.IN_TRANS | Status.MORE_RESULTS_EXISTS)
    assert changed == Ok(3, 4, Status.AUTOCOMMIT | Status.CURSOR_EXISTS, 5, b"tail")


def test_eof() -> None:
    assert parse_eof(b"\xfe\x07\0\x03\0") == Ok(0, 0, 3, 7, b"", 0xFE)
    with pytest.raises(PacketError):
        parse_eof(b"\xfe\0\0\0")


@given(U16, st.binary(max_size=60))
def test_err_messages_of_any_bytes_come_back(code: int, message: bytes) -> None:
    payload = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + message
    assert parse_err(payload).encode() == payload


def test_err_with_and_without_sqlstate() -> None:
    assert parse_err(b"\xff\x51\x04#42000No") == Err(1105, "42000", "No")
    assert parse_err(Err(1040, "08004", "Too many").encode_greeting()) == Err(1040, "HY000", "Too many")
    with pytest.raises(PacketError):
        parse_err(b"\xff\1")


@given(st.lists(st.none() | st.binary(max_size=300), max_size=6))
def test_rows_come_back(values: list[bytes | None]) -> None:
    payload = b"".join(b"\xfb" if value is None else lenenc(len(value)) + value for value in values)
    assert parse_row(payload, len(values)) == tuple(values)
    with pytest.raises(PacketError):
        parse_row(payload, len(values) + 1)
    if values:
        with pytest.raises(PacketError):
            parse_row(payload, len(values) - 1)


@given(st.binary(max_size=40), st.integers(0, 8))
def test_no_bytes_break_a_row_otherwise(payload: bytes, columns: int) -> None:
    with suppress(PacketError):
        assert len(parse_row(payload, columns)) == columns


def test_headers() -> None:
    assert frame(b"abc", 7) == b"\3\0\0\7abc"
    assert frame(b"", 256) == b"\0\0\0\0"
    whole = frame(b"x" * PAYLOAD_LENGTH_MAX, 0)
    assert whole[:4] == b"\xff\xff\xff\0"
    assert whole[-4:] == b"\0\0\0\1"
    longer = frame(b"x" * (PAYLOAD_LENGTH_MAX + 5), 255)
    assert longer[-9:] == b"\5\0\0\0xxxxx"


def test_prepare_response_and_statement_id() -> None:
    answer = parse_prepare_ok(b"\0\1\0\0\0\2\0\3\0\0\0\0")
    assert (answer.statement_id, answer.columns, answer.parameters) == (1, 2, 3)
    with pytest.raises(PacketError):
        parse_prepare_ok(b"\0\1\0\0")
    assert statement_id_of(b"\x17\1\2\0\0rest") == 513
    with pytest.raises(PacketError):
        statement_id_of(b"\x17\1\2")
