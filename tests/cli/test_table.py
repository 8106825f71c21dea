from datetime import timedelta

import pytest

from globaltx_cli.table import age, fields, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "LONG"), [("xyz", "1"), ("", "22")]) == "A     LONG\nxyz   1\n-     22"


def test_a_cell_stays_on_its_line() -> None:
    assert table(("A",), [("two\n lines",)]) == "A\ntwo lines"


def test_fields_without_a_value_are_left_out() -> None:
    assert fields([("A", "1"), ("Gone", ""), ("Bee", "2")]) == "A     1\nBee   2"
    assert fields([]) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (200_000, "2d")],
)
def test_age_in_its_largest_unit(seconds: float, shown: str) -> None:
    assert age(timedelta(seconds=seconds)) == shown
