"""Changes without an xid under `guardLocalWrites`, on real servers through a real client."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pymysql
import pytest
from pymysql.constants import CLIENT

from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import Proxy, hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo
from tests.sidecar.mysql.test_locking_read import on_read_of
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place

HELD = [(1, "bolt", 1), *ITEMS[1:]]


@pytest.fixture
def guard(place: Place, credentials: Path) -> Iterator[Proxy]:
    with Proxy(place, credentials, guards_local_writes=True) as running:
        yield running


@pytest.fixture
def holder(guard: Proxy) -> Xid:
    """A transaction that has changed row 1 and taken out the row 9, and is undecided."""
    xid = guard.begin()
    guard.place.run("INSERT INTO item VALUES (9, 'gone', 9)")
    with guard.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        cursor.execute(f"DELETE {hint(xid)} FROM item WHERE id = 9")
    return xid


CHANGES = [
    "UPDATE item SET amount = amount + 5 WHERE id < 3",
    "update`item`set amount=7 where name='bolt'",
    "/* by */ DELETE FROM item WHERE amount = 1",
    "DELETE FROM item ORDER BY id LIMIT 1",
    "INSERT INTO item (id, name) VALUES (8, 'new'), (9, 'back')",
    "REPLACE INTO item (id, name) VALUES (1, 'x')",
    "INSERT INTO item (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE amount = 3",
    "UPDATE item SET id = 20 WHERE id = 1",
    "UPDATE item AS a JOIN keyed AS b ON b.price = a.id SET a.amount = 4",
    "UPDATE /*+ GlobalLock() */ item SET amount = 5 WHERE id = 1",
]


@pytest.mark.parametrize("begin", [None, "BEGIN", "SET autocommit = 0"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_may_still_be_undone_is_not_changed(
    guard: Proxy, holder: Xid, change: str, begin: str | None
) -> None:
    guard.place.run("INSERT INTO keyed (code, price) VALUES ('a', 1)")
    left = undo(guard.place)
    with guard.connect() as connection, connection.cursor() as cursor:
        if begin:
            cursor.execute(begin)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(change)
        assert refused(error, "LockConflict", 1205)
        assert str(holder) in error.value.args[1]
        assert not in_transaction(connection)
        assert items(guard.place) == HELD
        assert undo(guard.place) == left
        assert cursor.execute("UPDATE item SET amount = 6 WHERE id = 2") == 1
        connection.commit()
    assert items(guard.place) == [HELD[0], (2, "nut", 6), HELD[2]]
    assert undo(guard.place) == left


@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_it_goes_on_when_the_holder_commits(place: Place, credentials: Path, begin: str) -> None:
    with Proxy(place, credentials, guards_local_writes=True, lock_wait=timedelta(seconds=60)) as guard:
        xid = guard.begin()
        with guard.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
            cursor.execute(begin)
            deciding = on_read_of(guard, lambda: guard.decide(xid, Outcome.COMMIT))
            assert cursor.execute("UPDATE item SET amount = amount + 1 WHERE id < 3") == 2
            assert in_transaction(connection) == (begin == "BEGIN")
            connection.commit()
            deciding.join(20)
        guard.carry_out(xid, Outcome.COMMIT)
        assert items(place) == [(1, "bolt", 2), (2, "nut", 201), ITEMS[2]]
        assert undo(place) == []


def test_it_begins_anew_when_the_holder_rolls_back(place: Place, credentials: Path) -> None:
    with Proxy(place, credentials, guards_local_writes=True, lock_wait=timedelta(seconds=60)) as guard:
        xid = guard.begin()
        with guard.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
            guard.decide(xid, Outcome.ROLLBACK)
            undoing = on_read_of(guard, lambda: guard.carry_out(xid, Outcome.ROLLBACK))
            assert cursor.execute("UPDATE item SET amount = amount + 1 WHERE id = 1") == 1
            undoing.join(20)
        assert items(place) == [(1, "bolt", 101), *ITEMS[1:]]
        assert undo(place) == []


def test_a_local_transaction_gives_way_to_a_rollback(guard: Proxy, holder: Xid) -> None:
    guard.decide(holder, Outcome.ROLLBACK)
    with guard.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 2")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")
        assert refused(error, "LockConflict", 1213)
        assert not in_transaction(connection)
    assert items(guard.place) == HELD


def test_prepared_statements_are_guarded(guard: Proxy, holder: Xid) -> None:
    assert str(holder)
    with closing(connector(guard)) as connection:
        cursor = connection.cursor(prepared=True)
        change = "UPDATE item SET amount = ?, name = ? WHERE id = ?"
        cursor.execute(change, (6, "a;b", 2))
        assert cursor.rowcount == 1
        with pytest.raises(Exception, match="LockConflict"):
            cursor.execute(change, (6, "a", 1))
        cursor.execute("INSERT INTO keyless VALUES (?)", ("x",))
        hinted = connection.cursor(prepared=True)
        with pytest.raises(Exception, match="LockConflict"):
            hinted.execute("UPDATE /*+ GlobalLock() */ item SET amount = ? WHERE id = ?", (6, 1))
        cursor.execute("SELECT name FROM item WHERE id = ?", (2,))
        assert cursor.fetchall() == [("a;b",)]
    assert items(guard.place) == [HELD[0], (2, "a;b", 6), HELD[2]]


def test_several_in_one_text(guard: Proxy, holder: Xid) -> None:
    assert str(holder)
    with guard.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE item SET amount = 6 WHERE id = 2; DELETE FROM item WHERE id = 3")
        while cursor.nextset():
            pass
        cursor.execute("SELECT 1; SELECT 2")
        while cursor.nextset():
            pass
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute("SELECT 1; UPDATE item SET amount = 6 WHERE id = 1")
        assert refused(error, "StatementNotUndoable")
    assert items(guard.place) == [HELD[0], (2, "nut", 6)]


def test_the_server_answers_for_itself(guard: Proxy) -> None:
    """Counts, ids and errors are the server's, and nothing is left of what was asked."""
    with guard.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute("INSERT INTO item (name) VALUES ('a'), ('b')") == 2
        assert cursor.lastrowid == 4
        with pytest.raises(pymysql.err.IntegrityError):
            cursor.execute("INSERT INTO item (id) VALUES (1)")
        cursor.execute("BEGIN")
        assert cursor.execute("INSERT INTO item (name) VALUES ('c'), ('d'), ('e')") == 3
        with pytest.raises(pymysql.err.IntegrityError):
            cursor.execute("INSERT INTO item (id) VALUES (1)")
        assert in_transaction(connection)
        cursor.execute("UPDATE item SET amount = 1 WHERE id = 99")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(guard.begin())} item SET amount = 1 WHERE id = 1")
        assert refused(error, "LocalTransactionMixed")
        connection.commit()
    assert len(items(guard.place)) == 8
    assert undo(guard.place) == []


@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_nothing_is_left_of_many_rows_and_odd_keys(guard: Proxy, begin: str) -> None:
    values = ", ".join(f"('k{number}', {number})" for number in range(1000))
    with guard.connect() as connection, connection.cursor() as cursor:
        cursor.execute(begin)
        assert cursor.execute(f"INSERT INTO keyed (code, price) VALUES {values}") == 1000
        assert cursor.execute("UPDATE keyed SET price = 3 WHERE price <> 3") == 999
        assert cursor.execute("UPDATE keyed SET price = 4 WHERE code = 'k7'") == 1
        assert cursor.execute("INSERT INTO keyed (code) VALUES ('ä''b\\\\;'), ('z')") == 2
        assert cursor.execute("DELETE FROM keyed WHERE code = 'ä''b\\\\;'") == 1
        assert undo(guard.place) == []
        connection.commit()
    assert undo(guard.place) == []
    assert guard.place.rows("SELECT COUNT(*), SUM(price) FROM keyed") == [(1001, 3001)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO item (id, name) SELECT id + 9, name FROM item LIMIT 1",
        "UPDATE item SET amount = own(1)",
        "/*! UPDATE item SET amount = 7 */",
    ],
)
def test_what_cannot_be_checked_is_refused(guard: Proxy, statement: str) -> None:
    with guard.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(statement)
        assert refused(error, "StatementNotUndoable")
        assert "guardLocalWrites" in error.value.args[1]
    assert items(guard.place) == ITEMS


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMPORARY TABLE passing (id INT)",
        "SET NAMES utf8mb4",
        "/*!40101 SET SQL_MODE = '' */",
        "ALTER TABLE keyed ADD COLUMN more INT",
        "TRUNCATE keyed",
    ],
)
def test_what_passes(guard: Proxy, statement: str) -> None:
    with guard.connect() as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.execute("CREATE TEMPORARY TABLE own (id INT PRIMARY KEY)")
        assert cursor.execute("INSERT INTO own VALUES (1)") == 1
        assert cursor.execute("INSERT INTO keyless VALUES ('a')") == 1


def test_without_the_guard_nothing_is_held_up(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        assert cursor.execute("UPDATE item SET amount = 2 WHERE id = 1") == 1
