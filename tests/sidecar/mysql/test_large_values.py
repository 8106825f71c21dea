"""Values that are too large for an image, or for the statement that puts them back: never half an undo."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from globaltx.transaction.states import Outcome, State
from tests.conftest import ON_MARIADB
from tests.sidecar.mysql.harness import hint
from tests.sidecar.mysql.test_at import undo

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Place, Proxy

TABLE = (
    "CREATE TABLE large (id INT PRIMARY KEY, n INT, t LONGTEXT, b LONGBLOB, l LONGTEXT CHARACTER SET latin1)"
)


def sixteenths(place: Place, count: int) -> int:
    """So many bytes of what the server takes in one packet."""
    ((most,),) = place.rows("SELECT @@max_allowed_packet")
    return int(most) // 16 * count


def fill(place: Place, **values: str) -> None:
    place.run(TABLE)
    place.run(f"INSERT INTO large (id,n,{','.join(values)}) VALUES (1,1,{','.join(values.values())})")


def rows(place: Place) -> list[tuple[Any, ...]]:
    return place.rows("SELECT id, n, SHA2(t, 256), SHA2(b, 256), SHA2(l, 256) FROM large")


def try_all(proxy: Proxy, *changes: str) -> None:
    """Send changes of one transaction, which may be refused, and roll it back."""
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")  # it has joined
        for change in changes:
            with suppress(pymysql.MySQLError):
                cursor.execute(change.replace("{}", hint(xid)))
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)


CHANGES = {
    "by its key": ("DELETE {} FROM large WHERE id = 1",),
    "by another column": ("DELETE {} FROM large WHERE n = 1",),
    "its columns": ("UPDATE {} large SET t = 'x', b = 'x', l = 'x' WHERE id = 1",),
    "in a local transaction": ("BEGIN", "UPDATE {} large SET t = 'x', b = 'x', l = 'x'", "COMMIT"),
    "one after the other": (
        "UPDATE {} large SET t = 'x' WHERE id = 1",
        "UPDATE {} large SET b = 'x' WHERE id = 1",
        "UPDATE {} large SET l = 'x' WHERE id = 1",
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    ("letter", "column", "count"),
    [
        ("a", "t", 9),
        ("a", "t", 15),
        ("a", "b", 9),
        ('"', "t", 7),
        ('"', "t", 9),
        ("\\\\0", "t", 4),
        ("ä", "l", 9),
    ],
)
def test_what_cannot_be_put_back_is_not_changed(
    proxy: Proxy, letter: str, column: str, count: int, change: tuple[str, ...]
) -> None:
    place = proxy.place
    fill(place, **{column: f"REPEAT('{letter}', {sixteenths(place, count) // len(letter.encode())})"})
    before = rows(place)
    try_all(proxy, *change)
    assert rows(place) == before
    assert [row for row in undo(place) if row[0]] == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_several_large_values_in_one_row(proxy: Proxy, change: tuple[str, ...]) -> None:
    place = proxy.place
    part = sixteenths(place, 6)
    fill(place, t=f"REPEAT('a', {part})", b=f"REPEAT('a', {part // 2})", l=f"REPEAT('a', {part // 2})")
    before = rows(place)
    try_all(proxy, *change)
    assert rows(place) == before
    assert [row for row in undo(place) if row[0]] == []


@pytest.mark.parametrize("mode", ["", "STRICT_ALL_TABLES"])
@pytest.mark.parametrize("begin", ["SELECT 1", "BEGIN"])
@pytest.mark.parametrize(
    "change",
    [
        "INSERT {} INTO large (id, b) VALUES (2, REPEAT('a', %))",
        "INSERT {} INTO large (id, t) VALUES (2, REPEAT('\"', %))",
        "UPDATE {} large SET b = REPEAT('a', %) WHERE id = 1",
        "UPDATE {} large SET t = REPEAT('\"', %) WHERE n = 1",
    ],
)
def test_a_large_new_value_is_taken_back(proxy: Proxy, change: str, begin: str, mode: str) -> None:
    place = proxy.place
    fill(place, t="'a'")
    before = rows(place)
    new = change.replace("%", str(sixteenths(place, 9)))
    try_all(proxy, f"SET sql_mode = '{mode}'", begin, new, "COMMIT")
    assert rows(place) == before
    assert [row for row in undo(place) if row[0]] == []


@ON_MARIADB
def test_what_became_too_large_in_parts_is_told_and_not_tried_for_ever(proxy: Proxy) -> None:
    """(To MySQL's packets, no undo record that is kept is too large.)"""
    place, xid = proxy.place, proxy.begin()
    fill(place, t=f"REPEAT('ä', {sixteenths(place, 5) // 2})", b=f"REPEAT('a', {sixteenths(place, 3)})")
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} large SET t = 'x' WHERE n = 1")
        cursor.execute(f"UPDATE {hint(xid)} large SET b = 'x' WHERE n = 1")
    proxy.decide(xid, Outcome.ROLLBACK)
    settlement = proxy.call(proxy._phase_two.rollback(xid))
    assert settlement.state is State.CONFLICT
    assert "max_allowed_packet" in settlement.conflicts[0].problem
    assert place.rows("SELECT t, b FROM large") == [("x", b"x")]
    assert [key for table, key, _, _ in undo(place) if table] == ["1"]
