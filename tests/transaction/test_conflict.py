"""Which decision counts for a row, and what is known to have become of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from globaltx.transaction.conflict import (
    CarriedOut,
    Remedy,
    Resolution,
    in_all,
    last_remedy,
    resolution_of,
    with_new,
)

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
ALL = Resolution(1, Remedy.RESTORE, "so", "kim")
TABLE = Resolution(2, Remedy.KEEP, "so", "kim", table="stock")
ROW = Resolution(3, Remedy.RETRY, "so", "kim", table="stock", row="a")


@pytest.mark.parametrize(
    ("table", "row", "counts"),
    [("stock", "a", ROW), ("stock", "b", TABLE), ("stock", "", TABLE), ("other", "a", ALL)],
)
def test_the_last_decision_that_covers_a_row_counts(table: str, row: str, counts: Resolution) -> None:
    assert resolution_of([ROW, ALL, TABLE], table, row) is counts


def test_nothing_was_decided() -> None:
    assert resolution_of([], "stock", "a") is None
    assert last_remedy([ROW]) is None
    assert last_remedy([ALL, TABLE, ROW]) is TABLE


def test_what_it_is_told_as() -> None:
    assert [str(each) for each in (ALL, TABLE, ROW)] == [
        "#1 Restore by kim: so",
        "#2 Keep of stock by kim: so",
        "#3 Retry of row a of stock by kim: so",
    ]


def test_a_repeat_that_finds_nothing_to_do_changes_nothing() -> None:
    first = in_all((), [CarriedOut(1, 2), CarriedOut(2, 0)], NOW)
    assert first == (CarriedOut(1, 2, NOW), CarriedOut(2, 0, NOW))
    assert in_all(first, [CarriedOut(1, 0), CarriedOut(2, 0)], LATER) == first
    assert in_all(first, [CarriedOut(1, 1), CarriedOut(2, 0)], LATER)[0] == CarriedOut(1, 3, LATER)


def test_decisions_are_added_once_and_none_takes_the_number_of_another() -> None:
    first = Resolution(1, Remedy.RETRY, "look", "ann")
    second = Resolution(2, Remedy.KEEP, "keep", "ben")
    assert with_new((), [second, first]) == (first, second)
    assert with_new((first, second), [first]) == (first, second)
    anew = Resolution(1, Remedy.RESTORE, "restore", "ann")  # written where the earlier ones were lost
    assert with_new((first, second), [anew]) == (first, second, replace(anew, number=3))
    assert with_new((first, second, replace(anew, number=3)), [anew])[-1].number == 3
