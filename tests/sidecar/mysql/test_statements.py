from __future__ import annotations

import pytest

from globaltx_sidecar.mysql.packets import PacketError, PrepareOk
from globaltx_sidecar.mysql.statements import (
    LAST_PREPARED,
    LONG_DATA_BYTES_MAX,
    TEXT_BYTES_MAX,
    Prepared,
    Statements,
)


def test_answers_come_in_the_order_of_the_prepares() -> None:
    statements = Statements()
    update, failing = Prepared(b"UPDATE"), Prepared(b"nonsense")
    for prepared in (None, failing, update):
        statements.preparing(prepared)
    statements.answered(PrepareOk(1, 2, 0))
    statements.answered(None)
    statements.answered(PrepareOk(2, 0, 3))
    assert statements.reads(1)
    assert not statements.reads(2)
    assert statements.get(1) is None
    assert statements.get(2) is update
    assert update.parameters == 3
    assert statements.get(LAST_PREPARED) is update


def test_closing_and_resetting() -> None:
    statements = Statements()
    for number in (1, 2, 3):
        statements.preparing(Prepared(b"UPDATE") if number < 3 else None)
        statements.answered(PrepareOk(number, 0, 0))
    statements.close(1)
    statements.close(99)
    assert statements.get(1) is None
    assert statements.get(2) is not None
    statements.clear()
    assert statements.get(2) is None
    assert not statements.reads(3)


def test_text_is_kept_within_bounds() -> None:
    statements = Statements()
    for number in (1, 2):
        statements.preparing(Prepared(b"x" * (TEXT_BYTES_MAX // 2 + 1)))
        statements.answered(PrepareOk(number, 0, 0))
    assert statements.get(1) is not None
    assert statements.get(2) is None
    statements.close(1)
    statements.preparing(Prepared(b"x" * TEXT_BYTES_MAX))
    statements.answered(PrepareOk(3, 0, 0))
    assert statements.get(3) is not None


def test_long_data_adds_up_within_bounds() -> None:
    prepared = Prepared(b"INSERT", parameters=2)
    prepared.keep_long_data(b"\x18\1\0\0\0\1\0abc")
    prepared.keep_long_data(b"\x18\1\0\0\0\1\0def")
    assert prepared.long_data == {1: b"abcdef"}
    prepared.reset()
    assert not prepared.long_data
    for payload in (b"\x18\1\0\0\0\2\0abc", b"\x18\1\0\0\0\1"):
        with pytest.raises(PacketError):
            prepared.keep_long_data(payload)
    prepared.keep_long_data(b"\x18\1\0\0\0\0\0" + b"x" * LONG_DATA_BYTES_MAX)
    missed = [prepared.concerned]
    for _ in range(2):
        prepared.keep_long_data(b"\x18\1\0\0\0\1\0x")
        missed.append(prepared.concerned and not prepared.long_data)
    prepared.reset()
    missed.append(prepared.concerned)
    assert missed == [False, True, True, False]


def test_an_execute_of_its_own_brings_types_and_long_data_along() -> None:
    """The server may have seen neither; a cursor would keep the rows from the sidecar."""
    prepared = Prepared(b"INSERT", parameters=2)
    first = b"\x17\7\0\0\0\1\1\0\0\0\0\1\x03\0\xfc\0\5\0\0\0"
    prepared.keep_long_data(b"\x18\7\0\0\0\1\0abc")
    assert prepared.values(first, "utf8mb4") == (5, b"abc")
    long_data = b"\x0a\0\0\0\x18\7\0\0\0\1\0abc"
    execute = b"\x17\7\0\0\0\0\1\0\0\0\0\1\x03\0\xfc\0\5\0\0\0"
    assert prepared.packets(first) == long_data + b"\x14\0\0\0" + execute
    without_types = b"\x17\7\0\0\0\0\1\0\0\0\0\0\5\0\0\0"
    assert prepared.values(without_types, "utf8mb4") == (5, b"abc")
    assert prepared.packets(without_types) == long_data + b"\x14\0\0\0" + execute
