"""What is hidden of a row in conflict, and what is cut."""

from __future__ import annotations

import pytest

from globaltx.transaction.conflict import (
    COLUMNS_SHOWN_MAX,
    KEY_LENGTH_MAX,
    PROBLEM_LENGTH_MAX,
    VALUE_LENGTH_MAX,
    ColumnConflict,
)
from globaltx.undo.compensate import Record
from globaltx.undo.shape import Column, TableShape
from globaltx.undo.shown import Masks, row_conflict, row_id, sentence, unread_conflict
from globaltx.undo.values import Image, Number
from tests.undo.shapes import PRICE, STOCK

BEFORE: Image = {"id": Number("5"), "amount": Number("3"), "note": "x"}
AFTER: Image = {**BEFORE, "amount": Number("2"), "note": None}
NOW: Image = {**BEFORE, "amount": Number("9")}
RECORD = Record(b"stock", b"5", BEFORE, AFTER, "r1")


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [
        ("stock.note", True),
        ("STOCK.Note", True),
        ("*.note", True),
        ("stock.*", True),
        ("*.*", True),
        ("stock.amount", False),
        ("stocks.note", False),
        ("shop.note", False),
    ],
)
def test_patterns(pattern: str, *, hidden: bool) -> None:
    assert Masks([pattern]).hides("stock", "note") is hidden


def test_only_a_table_that_a_pattern_speaks_of_is_touched() -> None:
    assert Masks(["stock.note"]).touches("Stock")
    assert Masks(["*.note"]).touches("anything")
    assert not Masks(["stock.note"]).touches("price")
    assert not Masks().touches("stock")


def test_the_columns_that_differ_are_shown() -> None:
    shown = row_conflict(STOCK, RECORD, NOW, Masks())
    assert (shown.row, shown.table, shown.key) == ("r1", "stock", "id=5")
    assert shown.columns == (
        ColumnConflict("amount", "3", "2", "9"),
        ColumnConflict("note", "'x'", "NULL", "'x'"),
    )


def test_a_row_that_is_gone_shows_what_was_changed() -> None:
    shown = row_conflict(STOCK, RECORD, None, Masks())
    assert [(each.name, each.current) for each in shown.columns] == [
        ("amount", "(no row)"),
        ("note", "(no row)"),
    ]


def test_what_was_not_recorded_is_not_made_up() -> None:
    shown = row_conflict(STOCK, Record(b"stock", b"5", {"id": Number("5")}, AFTER, "r"), NOW, Masks())
    assert shown.columns[0] == ColumnConflict("amount", "(not recorded)", "2", "9")


def test_a_masked_value_only_tells_whether_it_is_one_of_those_before() -> None:
    masks = Masks(["stock.*"])
    assert [each.current for each in row_conflict(STOCK, RECORD, NOW, masks).columns] == [
        "(masked)",
        "(masked, as before)",
    ]
    told = sentence(row_conflict(STOCK, RECORD, NOW, masks))
    assert told == (
        "stock id=(masked) was changed by somebody else and was left alone: before amount=(masked), "
        "note=(masked), after amount=(masked), note=(masked), now amount=(masked), note=(masked, as before)"
    )


def test_a_key_is_masked_in_its_part() -> None:
    image: Image = {"code": "secret", "since": "2024-02-29", "value": "1.50"}
    record = Record(b"price", b"?", image, {**image, "value": "2.50"}, "r")
    assert row_conflict(PRICE, record, None, Masks(["price.code"])).key == "code=(masked), since='2024-02-29'"


def test_of_a_table_that_is_no_more_the_key_is_masked_if_it_might_have_to_be() -> None:
    assert unread_conflict("gone", "r", b"secret", Masks(["*.iban"]), "is gone").key == "(masked)"
    assert unread_conflict("gone", "r", b"5", Masks(["other.iban"]), "is gone").key == "b'5'"


def test_everything_has_a_bound() -> None:
    columns = tuple(Column(f"c{number}", "text", "text", charset="utf8mb4") for number in range(100))
    shape = TableShape("shop", "wide", "InnoDB", (*columns,), ("c0",))
    one, two = ({each.name: letter * 5000 for each in columns} for letter in "ab")
    shown = row_conflict(
        shape, Record(b"wide", b"?", dict(one), dict(two), "r"), dict(one), Masks(), "x" * 5000
    )
    assert len(shown.columns) == COLUMNS_SHOWN_MAX
    assert {len(each.before) for each in shown.columns} == {VALUE_LENGTH_MAX}
    assert (len(shown.key) <= KEY_LENGTH_MAX, len(shown.problem)) == (True, PROBLEM_LENGTH_MAX)
    assert len(sentence(shown)) < 3000


def test_a_rows_name_tells_nothing_of_its_key() -> None:
    assert row_id(b"stock", "1.5/1") == row_id(b"stock", "1.5/1")
    assert len({row_id(b"stock", "1.5/1"), row_id(b"stock", "1.5/2"), row_id(b"price", "1.5/1")}) == 3
