"""Reads that must show no row which another global transaction may still undo."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import COMMAND

from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, fences, items, refused, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Proxy

CLAUSES = ["FOR UPDATE", "for\nupdate", "LOCK IN SHARE MODE"]


@pytest.fixture
def holder(proxy: Proxy) -> Xid:
    """A transaction that has changed the row 1, and is undecided."""
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
    return xid


def on_read_of(proxy: Proxy, act: Any) -> threading.Thread:
    """Act as soon as somebody has looked an outcome up."""
    asked = threading.Event()

    async def hook(call: str, when: str) -> None:
        if call == "read" and when == "after":
            asked.set()

    def wait() -> None:
        assert asked.wait(20)
        act()

    proxy.store._hook = hook
    acting = threading.Thread(target=wait)
    acting.start()
    return acting


@pytest.mark.parametrize("clause", CLAUSES)
@pytest.mark.parametrize("begin", [None, "BEGIN", "SET autocommit = 0"])
def test_a_row_that_may_still_be_undone_is_not_shown(
    proxy: Proxy, holder: Xid, clause: str, begin: str | None
) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        if begin:
            cursor.execute(begin)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id < 3 {clause}")
        assert refused(error, "LockConflict", 1205)
        assert str(holder) in error.value.args[1]
        assert not in_transaction(connection)
        assert cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 2 {clause}") == 1
    assert [row[1] for row in undo(proxy.place)] == ["1"]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "READ COMMITTED"])
def test_an_old_snapshot_hides_no_record(proxy: Proxy, level: str) -> None:
    """A locking read sees what was committed last; so must what is asked about its rows."""
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor, proxy.connect() as other:
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("BEGIN")
        cursor.execute("SELECT COUNT(*) FROM item, globaltx_undo")
        with other.cursor() as changing:
            changing.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 1 FOR UPDATE")
        assert refused(error, "LockConflict", 1205)


def test_an_inserted_row_is_not_shown(proxy: Proxy) -> None:
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT {hint(holder)} INTO item (name) VALUES ('pin')")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SELECT {hint(xid)} * FROM item WHERE amount = 0 FOR UPDATE")
        assert refused(error, "LockConflict", 1205)


def test_own_changes_are_shown_and_nothing_is_left(proxy: Proxy, holder: Xid) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT {hint(holder)} amount FROM item ORDER BY id FOR UPDATE")
        assert cursor.fetchall() == ((1,), (200,), (300,))
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 2")
        cursor.execute("SELECT amount FROM item WHERE id = 2 FOR UPDATE")
        assert cursor.fetchall() == ((5,),)
        connection.commit()
        cursor.execute(f"SELECT {hint(holder)} amount FROM item WHERE id = 2 FOR UPDATE")
        assert cursor.fetchall() == ((5,),)
    assert [row[1] for row in undo(proxy.place)] == ["1", "2"]
    assert fences(proxy.place) == [str(holder)]


def test_a_row_of_a_transaction_that_has_committed_is_shown(proxy: Proxy, holder: Xid) -> None:
    proxy.decide(holder, Outcome.COMMIT)
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        for begin in ("DO 0", "BEGIN"):
            cursor.execute(begin)
            cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 1 FOR UPDATE")
            assert cursor.fetchall() == ((1,),)
        connection.commit()
    assert undo(proxy.place)[0][2:] == ('{"id": [1], "amount": [100]}', '{"id": [1], "amount": [1]}')


@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_the_wait_ends_with_the_commit(proxy: Proxy, holder: Xid, begin: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(begin)
        deciding = on_read_of(proxy, lambda: proxy.decide(holder, Outcome.COMMIT))
        cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 1 FOR UPDATE")
        assert cursor.fetchall() == ((1,),)
        deciding.join(20)
        connection.rollback()


def test_a_local_transaction_gives_way_to_a_rollback(proxy: Proxy, holder: Xid) -> None:
    proxy.decide(holder, Outcome.ROLLBACK)
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 1 FOR UPDATE")
        assert refused(error, "LockConflict", 1213)
        assert not in_transaction(connection)
        proxy.carry_out(holder, Outcome.ROLLBACK)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


def test_a_read_in_autocommit_reads_again_after_a_rollback(proxy: Proxy, holder: Xid) -> None:
    proxy.decide(holder, Outcome.ROLLBACK)
    with proxy.connect() as connection, connection.cursor() as cursor:
        undoing = on_read_of(proxy, lambda: proxy.carry_out(holder, Outcome.ROLLBACK))
        cursor.execute("SELECT /*+ GlobalLock() */ amount FROM item WHERE id = 1")
        assert cursor.fetchall() == ((100,),)
        undoing.join(20)


@pytest.mark.parametrize("hinted", ["/*+ GlobalLock() */", "/*+ globallock( ) MAX_EXECUTION_TIME(9999) */"])
@pytest.mark.parametrize("clause", ["", "FOR UPDATE", "ORDER BY id LIMIT 1"])
def test_the_hint_of_programs_without_an_xid(proxy: Proxy, holder: Xid, hinted: str, clause: str) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        for begin in ("DO 0", "BEGIN"):
            cursor.execute(begin)
            with pytest.raises(pymysql.MySQLError) as error:
                cursor.execute(f"SELECT {hinted} amount FROM item WHERE id < 3 {clause}")
            assert refused(error, "LockConflict", 1205)
            assert not in_transaction(connection)
        assert cursor.execute("SELECT amount FROM item WHERE id = 1") == 1
        proxy.decide(holder, Outcome.COMMIT)
        cursor.execute(f"SELECT {hinted} amount FROM item WHERE id < 3 {clause}")
        assert cursor.fetchall()[0] == (1,)
        assert not in_transaction(connection)


def test_other_rows_are_not_held_up(proxy: Proxy) -> None:
    """What a read asks of the undo table locks no gap of it."""
    xid, other = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor, proxy.connect() as another:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 2 FOR UPDATE")
        with another.cursor() as changing:
            changing.execute("SET SESSION innodb_lock_wait_timeout = 1")
            assert changing.execute(f"UPDATE {hint(other)} item SET amount = 9 WHERE id IN (1)") == 1
            assert changing.execute(f"UPDATE {hint(other)} item SET amount = 9 WHERE id = 3") == 1
        assert cursor.execute(f"SELECT {hint(xid)} amount FROM item WHERE id = 2 FOR UPDATE") == 1
        connection.rollback()


def test_the_answer_is_the_servers_own(proxy: Proxy) -> None:
    xid = proxy.begin()
    statement = "SELECT {} id, name n, NULL, REPEAT('x', 300) FROM item WHERE id > 1 ORDER BY id FOR UPDATE"
    with proxy.place.connect() as straight, proxy.connect() as connection:
        for begin in ("DO 0", "BEGIN"):
            told = []
            for asked, hinted in ((straight, ""), (connection, hint(xid))):
                with asked.cursor() as cursor:
                    cursor.execute(begin)
                    cursor.execute(statement.format(hinted))
                    told.append((cursor.fetchall(), cursor.description, asked.server_status))
                    asked.rollback()
            assert told[0] == told[1]


@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_prepared(proxy: Proxy, holder: Xid, begin: str) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        connection.cmd_query(begin)
        cursor = connection.cursor(prepared=True)
        text = f"SELECT {hint(xid)} id, name, amount FROM item WHERE id = ? OR name = ? FOR UPDATE"
        cursor.execute(text, (2, "washer"))
        assert cursor.fetchall() == [(2, "nut", 200), (3, "washer", 300)]
        cursor.execute(text, (3, "none"))
        assert cursor.fetchall() == [(3, "washer", 300)]
        with pytest.raises(Exception, match="LockConflict") as error:
            cursor.execute(text, (2, "bolt"))
        assert getattr(error.value, "errno", None) == 1205
        connection.cmd_query(begin)
        proxy.decide(holder, Outcome.COMMIT)
        cursor.execute(text, (2, "bolt"))
        assert cursor.fetchall() == [(1, "bolt", 1), (2, "nut", 200)]
        connection.rollback()


def test_prepared_without_a_hint_in_a_local_transaction(proxy: Proxy, holder: Xid) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        cursor = connection.cursor(prepared=True)
        cursor.execute("SELECT amount FROM item WHERE id = ? FOR UPDATE", (1,))
        assert cursor.fetchall() == [(1,)]
        connection.start_transaction()
        connection.cmd_query(f"UPDATE {hint(xid)} item SET amount = 9 WHERE id = 3")
        with pytest.raises(Exception, match=str(holder)):
            cursor.execute("SELECT amount FROM item WHERE id = ? FOR UPDATE", (1,))


@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_a_cursor_on_the_server(proxy: Proxy, begin: str) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        connection.cmd_query(begin)
        prepared = connection.cmd_stmt_prepare(f"SELECT {hint(xid)} id FROM item FOR UPDATE".encode())
        statement_id = prepared["statement_id"].to_bytes(4, "little")
        socket = connection._socket
        socket.send(bytes((COMMAND.COM_STMT_EXECUTE,)) + statement_id + b"\1\1\0\0\0", 0, 0)
        for _ in range(3):  # column count, definition, end
            packet = socket.recv()
        assert packet[4] == 0xFE
        rows = 0
        for _ in range(2):
            socket.send(bytes((COMMAND.COM_STMT_FETCH,)) + statement_id + (2).to_bytes(4, "little"), 0, 0)
            while (packet := socket.recv())[4] == 0:
                rows += 1
            assert packet[4] == 0xFE
        assert rows == 3
        connection.cmd_query("ROLLBACK")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT i.id FROM item i JOIN keyed k ON k.code = i.name FOR UPDATE",
        "SELECT i.id FROM item i, keyed k FOR UPDATE",
        "SELECT id FROM item WHERE name IN (SELECT code FROM keyed) FOR UPDATE",
        "SELECT id FROM item WHERE name IN (SELECT code FROM keyed FOR UPDATE)",
        "SELECT * FROM (SELECT id FROM item FOR UPDATE) AS x",
        "(SELECT id FROM item FOR UPDATE) UNION (SELECT 1)",
        "(SELECT id FROM item) FOR UPDATE",
        "SELECT (SELECT id FROM item LIMIT 1 FOR UPDATE)",
        "SELECT id FROM item WHERE RAND() < 2 FOR UPDATE",
        "SELECT id FROM seen FOR UPDATE",
    ],
)
def test_what_cannot_be_checked_is_refused(proxy: Proxy, statement: str) -> None:
    proxy.place.run("CREATE VIEW seen AS SELECT id FROM item")
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT {hint(xid)} 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(statement)
        assert refused(error, "StatementNotUndoable")
        assert cursor.execute("SELECT id FROM item WHERE id = 2 FOR UPDATE") == 1
        assert in_transaction(connection)
        connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM DUAL FOR UPDATE",
        "SELECT name FROM keyless FOR UPDATE",
        "SELECT id FROM item WHERE id = 1",
        "SELECT i.id, (SELECT 1 FROM keyed) FROM item AS i USE INDEX (PRIMARY) WHERE i.id = 2 FOR UPDATE",
        "SELECT COUNT(*) FROM item WHERE id > 1 GROUP BY name HAVING COUNT(*) > 0 LIMIT 1 FOR UPDATE",
        "SELECT `item`.* FROM `item` WHERE name = 'nut;' FOR UPDATE",
        "SELECT id FROM item WHERE id IN (2, 3) LIMIT 1 FOR UPDATE SKIP LOCKED",
        "SELECT id FROM item WHERE id = 3 FOR UPDATE NOWAIT",
    ],
)
@pytest.mark.parametrize("begin", ["DO 0", "BEGIN"])
def test_what_passes(proxy: Proxy, holder: Xid, statement: str, begin: str) -> None:
    xid = proxy.begin()
    hinted = statement.replace("SELECT", f"SELECT {hint(xid)}", 1)
    assert str(holder)
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(begin)
        expected = proxy.place.rows(statement)
        cursor.execute(hinted)
        assert list(cursor.fetchall()) == expected
        assert in_transaction(connection) == (begin == "BEGIN")
        connection.rollback()


@pytest.mark.parametrize("spelling", ["item", "`item`", "{schema}.item", "`{schema}` . `item`"])
def test_spellings_of_the_table(proxy: Proxy, holder: Xid, spelling: str) -> None:
    xid = proxy.begin()
    table = spelling.format(schema=proxy.place.schema)
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SELECT {hint(xid)} amount FROM {table} WHERE id = 1 FOR UPDATE")
        assert refused(error, "LockConflict", 1205)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} {table} SET amount = 3 WHERE id = 1")
        assert refused(error, "LockConflict", 1205)
        assert str(holder) in error.value.args[1]
