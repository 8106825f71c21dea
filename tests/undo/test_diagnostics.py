from __future__ import annotations

import pytest

from globaltx.undo.diagnostics import column, fill_in, reads_no_table

VALUES = {"ROW_COUNT": 3, "WARNING_COUNT": 2, "ERROR_COUNT": 0}


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("SELECT ROW_COUNT()", "SELECT (ROW_COUNT()*0+3) AS `ROW_COUNT()`"),
        ("select distinct row_count ( ) , 1", "select distinct (row_count ( )*0+3) AS `row_count ( )` , 1"),
        ("SELECT @@warning_count FROM t", "SELECT (@@warning_count*0+2) AS `@@warning_count` FROM t"),
        ("SELECT @@session.error_count e", "SELECT (@@session.error_count*0+0) e"),
        ("SELECT 1+ROW_COUNT(), f(ROW_COUNT())", "SELECT 1+(ROW_COUNT()*0+3), f((ROW_COUNT()*0+3))"),
        ("SELECT a FROM t WHERE ROW_COUNT()", "SELECT a FROM t WHERE (ROW_COUNT()*0+3)"),
        ("SELECT (SELECT ROW_COUNT())", "SELECT (SELECT (ROW_COUNT()*0+3))"),
        ("SELECT a FROM t ORDER BY b, ROW_COUNT()", "SELECT a FROM t ORDER BY b, (ROW_COUNT()*0+3)"),
        ("INSERT INTO log VALUES (ROW_COUNT(), 1)", "INSERT INTO log VALUES ((ROW_COUNT()*0+3), 1)"),
        ("SELECT 1; SELECT ROW_COUNT()", "SELECT 1; SELECT ROW_COUNT()"),
        ("SELECT 'ROW_COUNT()', `ROW_COUNT` /* ROW_COUNT() */", None),
        ("SELECT FOUND_ROWS(), row_count, row_count(1), @@global.warning_count", None),
        ("SELECT 'open, ROW_COUNT()", None),
    ],
)
def test_what_is_known_is_written_in(asked: str, known: str | None) -> None:
    assert fill_in(asked.encode(), VALUES).decode() == (known or asked)


def test_a_column_of_its_own() -> None:
    assert column("@@session.warning_count", 7) == (
        b"SELECT (@@session.warning_count*0+7) AS `@@session.warning_count`"
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [("SELECT 1", True), ("SELECT 1 FROM t", False), ("SET @a = 1", False), ("SELECT 'open", False)],
)
def test_a_select_from_no_table(sql: str, *, expected: bool) -> None:
    assert reads_no_table(sql.encode()) is expected
