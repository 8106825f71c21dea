from __future__ import annotations

import itertools
import json

import pytest

from globaltx.modes import at
from globaltx.transaction.conflict import RowConflict
from globaltx.transaction.model import MESSAGE_LENGTH_MAX
from globaltx.transaction.states import Outcome, State
from globaltx.undo import compensate, shown, values
from globaltx.undo.compensate import Record, Verdict
from globaltx.undo.shape import Column, Kind
from globaltx.undo.values import Image, Number, UnreadableImageError, read_image
from tests.undo import goldens
from tests.undo.shapes import TABLES

ONE: Image = {"id": Number("1"), "amount": Number("10")}
TWO: Image = {"id": Number("1"), "amount": Number("20")}
THREE: Image = {"id": Number("1"), "amount": Number("30")}


def _react(question: str) -> str:
    """``table``, before image, after image: the SELECT, the undo, and how a conflict would be told."""
    table, before, after = question.split("\n")
    shape = TABLES[table]
    record = Record.read(
        table.encode(), b"?", None if before == "-" else before, None if after == "-" else after
    )
    lines = [compensate.select_current(shape, record) or "(nothing to look at)"]
    if record.before != record.after:
        lines.append(compensate.restore(shape, record))
    lines += [f"{label}: {query}" for label, query in compensate.select_children(shape, record)]
    lines.append(shown.sentence(shown.row_conflict(shape, record, None, shown.Masks())))
    return "\n".join(lines)


def test_compensations() -> None:
    goldens.check("compensations.txt", _react)


@pytest.mark.parametrize(
    ("before", "after", "current"),
    list(itertools.product([None, ONE], [None, ONE, TWO], [None, ONE, TWO, THREE])),
)
def test_verdicts(before: Image | None, after: Image | None, current: Image | None) -> None:
    """The whole table: as before, nothing to do; as after, undo; else a person must look."""
    expected = Verdict.CONFLICT
    if current == after:
        expected = Verdict.RESTORE
    if current == before:
        expected = Verdict.DONE
    assert compensate.judge(Record(b"", b"", before, after), current) is expected


def test_columns_of_others_do_not_matter() -> None:
    record = Record(b"", b"", ONE, TWO)
    assert compensate.judge(record, {**TWO, "note": "changed meanwhile"}) is Verdict.RESTORE
    assert compensate.judge(record, {"id": Number("1")}) is Verdict.CONFLICT


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("[1.50]", "[1.5]", True),
        ("[1e2]", "[100]", True),
        ("[9007199254740993]", "[9007199254740992]", False),
        ('["1"]', "[1]", True),  # MariaDB under sjis
        ('["1x"]', "[1]", False),
        ("[null]", '[""]', False),
        ('["a"]', '["A"]', False),
        ('["\\u00e9"]', '["é"]', True),
    ],
)
def test_values_are_compared_exactly(one: str, other: str, equal: bool) -> None:  # noqa: FBT001  expected
    assert values.same(read_image(f'{{"a": {one}}}'), read_image(f'{{"a": {other}}}')) is equal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "unreadable",
        '{"a": 1}',
        '{"a": []}',
        '{"a": [1, 2]}',
        '{"a": [{}]}',
        '{"a": [true]}',
        '{"a": [NaN]}',
    ],
)
def test_an_image_that_is_none_is_told(text: str) -> None:
    with pytest.raises(UnreadableImageError):
        read_image(text)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_value_never_breaks_out_of_its_literal(kind: Kind) -> None:
    """Whatever an image holds (the undo table can be written by others), no kind lets SQL through."""
    type_of = {
        "integer": "int",
        "plain": "date",
        "text": "varchar",
        "foreign text": "char",
        "index": "bit",
        "unknown": "x",
    }
    column = Column("a", type_of.get(kind, str(kind)), "x", charset="utf8mb4" if kind is Kind.TEXT else "gbk")
    assert column.kind is kind
    for evil in ("1); DROP TABLE t; -- ", "'", "1 OR 1=1", "X'00'", "\\'"):
        try:
            written = values.sql(column, evil)
        except UnreadableImageError:
            continue
        assert kind in {Kind.TEXT, Kind.JSON}
        assert f"_utf8mb4 X'{evil.encode().hex()}'" in written


def test_settlements() -> None:
    assert (at.duty(Outcome.COMMIT), at.duty(Outcome.ROLLBACK)) == (at.Duty.FORGET, at.Duty.RESTORE)
    assert at.committed().state is State.COMMITTED
    assert at.rolled_back([]).state is State.ROLLED_BACK
    long = RowConflict("a", "t", "id=1", "x" * 5000)
    conflict = at.rolled_back([long, RowConflict("b", "t", "id=2", "y")])
    assert (conflict.state, conflict.reason) == (State.CONFLICT, "RowChanged")
    assert len(conflict.message) == MESSAGE_LENGTH_MAX
    assert conflict.message.endswith("... (and 1 more rows)")


def test_numbers_keep_their_digits() -> None:
    image = read_image('{"a": [18446744073709551615], "b": [1.10]}')
    assert (image["a"], image["b"]) == ("18446744073709551615", "1.10")
    assert json.dumps(image)
