"""Phase one of AT through real clients, on a real MariaDB, over the real registrar and memory store."""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import aiomysql
import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT, SERVER_STATUS

from globaltx.stores.base import StoreUnavailableError
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, Proxy, hint, in_transaction, numbers
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place

ITEMS = [(1, "bolt", 100), (2, "nut", 200), (3, "washer", 300)]


def items(place: Place) -> list[tuple[Any, ...]]:
    return place.rows("SELECT id, name, amount FROM item ORDER BY id")


def undo(place: Place) -> list[tuple[Any, ...]]:
    """The undo records (table, key, before, after), without the fences, in the order of the changes."""
    return [
        tuple(
            value if value is None else value.decode() if isinstance(value, bytes) else value for value in row
        )
        for row in place.rows(
            "SELECT table_name, row_key, before_image, after_image FROM globaltx_undo"
            " WHERE table_name <> '' ORDER BY created_at, position"
        )
    ]


def fences(place: Place) -> list[str]:
    return [row[0].decode() for row in place.rows("SELECT xid FROM globaltx_undo WHERE table_name = ''")]


def refused(error: pytest.ExceptionInfo[pymysql.MySQLError], reason: str, code: int = 1105) -> bool:
    assert error.value.args[0] == code, error.value
    assert error.value.args[1].startswith(f"globaltx: {reason}: "), error.value
    return True


# Autocommit


def test_autocommit_leaves_records_and_the_fence(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount - 2 WHERE id <= 2") == 2
        assert not connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        assert connection.server_status & SERVER_STATUS.SERVER_STATUS_AUTOCOMMIT
        assert cursor.execute(f"insert {hint(xid)} into item (name) values ('pin'), ('cap')") == 2
        assert cursor.lastrowid == 4
        assert cursor.execute(f"DELETE FROM item {hint(xid)} WHERE id = 3") == 1
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 99") == 0
    assert items(proxy.place) == [(1, "bolt", 98), (2, "nut", 198), (4, "pin", 0), (5, "cap", 0)]
    assert [(table, key) for table, key, _, _ in undo(proxy.place)] == [
        ("item", "1"),
        ("item", "2"),
        ("item", "4"),
        ("item", "5"),
        ("item", "3"),
    ]
    assert undo(proxy.place)[0][2:] == ('{"id": [1], "amount": [100]}', '{"id": [1], "amount": [98]}')
    assert fences(proxy.place) == [str(xid)]
    assert [branch.id.resource for branch in proxy.read(xid).branches] == ["order-db"]


def test_last_insert_id_and_the_clients_own_numbers(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT {hint(xid)} INTO item (name) VALUES ('pin')")
        assert (cursor.rowcount, cursor.lastrowid) == (1, 4)
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 4")
        cursor.execute("SELECT LAST_INSERT_ID()")
        assert cursor.fetchone() == (4,)


def test_row_count_and_warnings_in_a_local_transaction(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"UPDATE {hint(xid)} item SET name = REPEAT('x', 100) WHERE id < 3")
        cursor.execute("SHOW WARNINGS")
        assert [row[1] for row in cursor.fetchall()] == [1265, 1265]
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1")
        cursor.execute("SELECT ROW_COUNT()")
        assert cursor.fetchone() == (3,)
        connection.rollback()
    assert items(proxy.place) == ITEMS


def test_no_warning_of_ours_reaches_the_application(proxy: Proxy) -> None:
    """MySQL warns of what the undo records' INSERT uses; twice, so that they are merged too."""
    xid, other = proxy.begin(), proxy.begin()

    def warned(cursor: Any) -> list[Any]:
        told = cursor._result.warning_count
        cursor.execute("SHOW WARNINGS")
        return [told, *cursor.fetchall()]

    with proxy.connect() as connection, connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = 1")
            assert warned(cursor) == [0]
            cursor.execute("BEGIN")
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = 1")
            cursor.execute("COMMIT")
            assert warned(cursor) == [0]
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(other)} item SET amount = 2 WHERE id = 1")
        assert refused(error, "LockConflict", 1205)
        cursor.execute("SHOW WARNINGS")  # MariaDB still knows of the CHECK there
        assert all(level == "Error" for level, *_ in cursor.fetchall())


@pytest.mark.parametrize("change", [
    "INSERT {} INTO item VALUES (?, 'x', 1)",
    "INSERT {} INTO item (name) VALUES (?)",
    "UPDATE {} item SET amount = 1 WHERE id = ?",
    "UPDATE {} item SET amount = 1 WHERE id IN (SELECT id FROM item WHERE id = ?)",
    "DELETE {} FROM item WHERE id = ?",
])  # fmt: skip
def test_a_question_mark_in_a_text_is_the_servers_error(proxy: Proxy, change: str) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(change.format(hint(proxy.begin())))
        assert error.value.args[0] == 1064
        cursor.execute("SELECT 1")
    assert items(proxy.place) == ITEMS


def test_a_failing_statement_leaves_nothing(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.IntegrityError) as duplicate:
            cursor.execute(f"INSERT {hint(xid)} INTO item (id, name) VALUES (4, 'pin'), (1, 'again')")
        assert duplicate.value.args[0] == 1062
        with pytest.raises(pymysql.OperationalError) as unknown:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE nothing = 1")
        assert unknown.value.args[0] == 1054
        assert not connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


def test_a_statement_with_semicolons_in_its_literals(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(f"UPDATE {hint(xid)} item SET name = 'a;b' WHERE id = 1 ; ") == 1
        cursor.execute("BEGIN")
        assert cursor.execute(f"UPDATE {hint(xid)} item SET name = 'c;d' WHERE name = 'a;b'") == 1
        connection.commit()
    assert items(proxy.place)[0] == (1, "c;d", 100)
    assert undo(proxy.place)[0][2:] == ('{"id": [1], "name": ["bolt"]}', '{"id": [1], "name": ["c;d"]}')


# Local transactions


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION", "SET autocommit = 0"])
def test_a_local_transaction_is_written_with_its_commit(proxy: Proxy, begin: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(begin)
        cursor.execute(f"INSERT {hint(xid)} INTO item (name) VALUES ('pin')")
        cursor.execute("UPDATE item SET amount = 7 WHERE id IN (1, 4)")
        cursor.execute("SELECT amount FROM item WHERE id = 4")
        assert cursor.fetchall() == ((7,),)
        assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])
        connection.commit()
        assert not connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
    assert items(proxy.place) == [(1, "bolt", 7), *ITEMS[1:], (4, "pin", 7)]
    assert undo(proxy.place) == [
        ("item", "4", None, '{"id": [4], "name": ["pin"], "amount": [7]}'),
        ("item", "1", '{"id": [1], "amount": [100]}', '{"id": [1], "amount": [7]}'),
    ]


def test_rollback_drops_what_was_pending(proxy: Proxy) -> None:
    xid, other = proxy.begin(), proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE {hint(xid)} FROM item")
        connection.rollback()
        cursor.execute(f"UPDATE {hint(other)} item SET amount = 1 WHERE id = 1")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]
    assert fences(proxy.place) == [str(other)]


def test_savepoints_take_their_records_along(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SAVEPOINT before_all")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        cursor.execute("SAVEPOINT a")
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 2")
        cursor.execute("ROLLBACK TO SAVEPOINT A")
        cursor.execute("UPDATE item SET amount = 3 WHERE id = 3")
        connection.commit()
        assert [row[1] for row in undo(proxy.place)] == ["1", "3"]
        cursor.execute("BEGIN")
        cursor.execute("SAVEPOINT before_all")
        cursor.execute(f"INSERT {hint(xid)} INTO item (name) VALUES ('pin')")
        cursor.execute("ROLLBACK TO before_all")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 20 WHERE id = 2")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), (2, "nut", 20), (3, "washer", 3)]
    assert [row[1] for row in undo(proxy.place)] == ["1", "3", "2"]


def test_a_failing_statement_in_a_local_transaction(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        with pytest.raises(pymysql.IntegrityError):
            cursor.execute("INSERT INTO item (id, name) VALUES (2, 'again')")
        with pytest.raises(pymysql.OperationalError):
            cursor.execute("SELECT nothing FROM item")
        cursor.execute("UPDATE item SET amount = 3 WHERE id = 3")
        connection.commit()
    assert [row[1] for row in undo(proxy.place)] == ["1", "3"]
    assert items(proxy.place) == [(1, "bolt", 1), (2, "nut", 200), (3, "washer", 3)]


@pytest.mark.parametrize("implicit", ["BEGIN", "SET autocommit = 1"])
def test_what_commits_implicitly_takes_the_records_along(proxy: Proxy, implicit: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        cursor.execute(implicit)
        assert [row[1] for row in undo(proxy.place)] == ["1"]
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 2")
        connection.commit()
    assert [row[1] for row in undo(proxy.place)] == ["1"]
    assert items(proxy.place)[1] == (2, "nut", 2)


def test_commit_and_chain(proxy: Proxy) -> None:
    xid, other = proxy.begin(), proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        cursor.execute("COMMIT AND CHAIN")
        assert connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS
        cursor.execute(f"UPDATE {hint(other)} item SET amount = 2 WHERE id = 2")
        cursor.execute("COMMIT RELEASE")
    assert [row[1] for row in undo(proxy.place)] == ["1", "2"]
    assert sorted(fences(proxy.place)) == sorted([str(xid), str(other)])


def test_an_application_whose_completion_type_chains(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET completion_type = 'CHAIN'")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        assert not in_transaction(connection)


def test_the_first_image_of_a_row_stays(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        for amount in (1, 2, 3):
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = {amount} WHERE id = 1")
    assert undo(proxy.place) == [("item", "1", '{"id": [1], "amount": [100]}', '{"id": [1], "amount": [3]}')]


def test_many_rows(proxy: Proxy) -> None:
    xid = proxy.begin()
    proxy.place.run("DELETE FROM item", f"INSERT INTO item SELECT n, SHA2(n, 224), n FROM {numbers(10_000)}")
    with proxy.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1") == 10_000
    assert proxy.place.rows("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''") == [(10_000,)]


# Carrying the xid


def test_a_thousand_statements_in_one_local_transaction(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for number in range(1000):
            cursor.execute(f"INSERT {hint(xid)} INTO keyed (code, price) VALUES ('{number}', {number})")
        connection.commit()
    assert len(undo(proxy.place)) == 1000
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert proxy.place.rows("SELECT COUNT(*) FROM keyed") == [(0,)]
    assert undo(proxy.place) == []


@pytest.mark.usefixtures("large_packets")
@pytest.mark.parametrize("size", [2**24 - 1, 2**24, 2**25])
def test_a_statement_of_sixteen_mebibytes_is_refused_and_the_connection_goes_on(
    proxy: Proxy, size: int
) -> None:
    """It is several packets; the size is that of the command, with its first byte."""
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        head = f"UPDATE {hint(xid)} item SET amount = 2 WHERE id = 2 AND '' <> '"
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(head + "x" * (size - 1 - len(head) - 1) + "'")
        assert refused(error, "StatementNotUndoable")
        assert cursor.execute("UPDATE item SET amount = 3 WHERE id = 3") == 1
        connection.commit()
    assert [row[2] for row in items(proxy.place)] == [1, 200, 3]


def test_the_session_variable_carries_the_xid(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET @globaltx_xid = '{xid}'")
        cursor.execute("UPDATE item SET amount = 1 WHERE id = 1")
        cursor.execute("SELECT amount, @globaltx_xid FROM item WHERE id = 1")
        assert cursor.fetchall() == ((1, str(xid)),)
        cursor.execute("SET @globaltx_xid = NULL")
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 2")
    assert [row[1] for row in undo(proxy.place)] == ["1"]


@pytest.mark.parametrize("text", ["shop", "Shop.X", "shop.a b", "shop." + "x" * 80])
def test_what_is_no_xid_is_refused(proxy: Proxy, text: str) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(text)} item SET amount = 1")
        assert refused(error, "InvalidXid")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"SET @globaltx_xid = '{text}'")
        assert refused(error, "InvalidXid")
    assert items(proxy.place) == ITEMS


# Refusals leave nothing changed


@pytest.mark.parametrize("explicit", [False, True])
def test_an_unknown_xid_is_refused(proxy: Proxy, *, explicit: bool) -> None:
    xid = Xid("shop", "never-began")
    with proxy.connect() as connection, connection.cursor() as cursor:
        if explicit:
            cursor.execute("BEGIN")
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute("COMMIT" if explicit else f"UPDATE {hint(xid)} item SET amount = 1")
        assert refused(error, "UnknownTransaction")
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place), fences(proxy.place)) == (ITEMS, [], [])


@pytest.mark.parametrize("outcome", Outcome)
def test_a_decided_xid_is_refused(proxy: Proxy, outcome: Outcome) -> None:
    xid = proxy.begin()
    proxy.decide(xid, outcome)
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"DELETE {hint(xid)} FROM item")
        assert refused(error, "AlreadyDecided")
    assert (items(proxy.place), undo(proxy.place), fences(proxy.place)) == (ITEMS, [], [])


def test_a_rollback_that_took_the_fence_first(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        connection.commit()
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2 WHERE id = 2")
        proxy.place.run(f"UPDATE globaltx_undo SET xid = '!{xid}' WHERE table_name = ''")
        with pytest.raises(pymysql.MySQLError) as error:
            connection.commit()
        assert refused(error, "AlreadyDecided")
    assert [row[2] for row in items(proxy.place)] == [1, 1, 1]


def test_a_store_that_does_not_answer(proxy: Proxy) -> None:
    xid = proxy.begin()

    async def lost(call: str, when: str) -> None:
        if call == "join" and when == "before":
            raise StoreUnavailableError(call)

    proxy.store._hook = lost
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        assert refused(error, "StoreUnavailable")
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")
    assert (items(proxy.place)[0], undo(proxy.place)) == ((1, "bolt", 5), [])


def test_two_masters_of_one_local_transaction(proxy: Proxy) -> None:
    xid, other = proxy.begin(), proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 2")
        assert refused(error, "LocalTransactionMixed")
        connection.commit()
        cursor.execute("SELECT * FROM item")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 2")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(other)} item SET amount = 1 WHERE id = 3")
        assert refused(error, "LocalTransactionMixed")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 5), (2, "nut", 1), (3, "washer", 300)]
    assert [row[1] for row in undo(proxy.place)] == ["2"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE another (id INT PRIMARY KEY)",
        "TRUNCATE item",
        "LOCK TABLES item WRITE",
        "CALL something()",
    ],
)
def test_what_cannot_be_undone_is_refused_within(proxy: Proxy, statement: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(statement)
        assert refused(error, "StatementNotUndoable")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]


def test_tables_that_cannot_take_part(server: Server, proxy: Proxy) -> None:
    xid = proxy.begin()
    server.execute(f"GRANT ALL ON other_{proxy.place.schema}.* TO '{ACCOUNT}'@'%'")
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"INSERT {hint(xid)} INTO keyless VALUES ('x')")
        assert refused(error, "NoPrimaryKey")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} nowhere SET a = 1")
        assert refused(error, "StatementNotUndoable", 1146)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} other_{proxy.place.schema}.item SET a = 1")
        assert refused(error, "StatementNotUndoable")
        connection.select_db("information_schema")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        assert refused(error, "StatementNotUndoable")
        cursor.execute(f"UPDATE {hint(xid)} {proxy.place.schema}.item SET amount = 1 WHERE id = 1")
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]


def test_a_missing_undo_table(proxy: Proxy) -> None:
    xid = proxy.begin()
    proxy.place.run("DROP TABLE globaltx_undo")
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        assert refused(error, "UndoTableMissing")
    assert items(proxy.place) == ITEMS


# Several statements in one text


@pytest.mark.parametrize("flag", [0, CLIENT.MULTI_STATEMENTS])
def test_several_statements_that_are_not_all_changes_are_refused_with_an_xid(proxy: Proxy, flag: int) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=flag) as connection, connection.cursor() as cursor:
        for _ in range(2):
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1; TRUNCATE item")
            assert items(proxy.place) == ITEMS
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 100 WHERE id = 1")
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 100 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError):
            cursor.execute("UPDATE item SET amount = 1; TRUNCATE item")
        connection.rollback()
        if flag:
            cursor.execute("SELECT 1; SELECT 2")
            assert cursor.nextset()
        else:
            with pytest.raises(pymysql.ProgrammingError):
                cursor.execute("SELECT 1; SELECT 2")
    assert items(proxy.place) == ITEMS


# Lock conflicts


def test_a_row_of_another_transaction_that_stays_undecided(proxy: Proxy) -> None:
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2")
        assert refused(error, "LockConflict", 1205)
        assert str(holder) in error.value.args[1]
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2 WHERE id = 2")
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            connection.commit()
        assert refused(error, "LockConflict", 1205)
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]


def test_a_row_of_a_transaction_that_rolls_back(proxy: Proxy) -> None:
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
        proxy.decide(holder, Outcome.ROLLBACK)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2")
        assert refused(error, "LockConflict", 1213)
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]


def test_a_row_that_is_restored_meanwhile_is_changed_as_it_then_is(place: Place, credentials: Path) -> None:
    with Proxy(place, credentials, lock_wait=timedelta(seconds=60)) as proxy:
        holder, xid = proxy.begin(), proxy.begin()
        looked = threading.Event()

        async def hook(call: str, when: str) -> None:
            if (call, when) == ("read", "after"):
                looked.set()

        def undone() -> None:
            assert looked.wait(20)
            proxy.carry_out(holder, Outcome.ROLLBACK)

        with proxy.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
            proxy.decide(holder, Outcome.ROLLBACK)
            proxy.store._hook = hook
            undoing = threading.Thread(target=undone)
            undoing.start()
            assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = 1") == 1
            undoing.join(20)
        assert items(place) == [(1, "bolt", ITEMS[0][2] + 1), *ITEMS[1:]]
        assert [row[3:] for row in undo(place)] == [('{"id": [1], "amount": [101]}',)]


WAITING = {
    "one row": (["UPDATE {} item SET amount = 2 WHERE id = 2"], False),
    "one behind others": (["UPDATE {} item SET amount = 2 WHERE id IN (1, 2)"], False),
    "in a local transaction": (
        [
            "BEGIN",
            "UPDATE {} item SET amount = 2 WHERE id = 1",
            "UPDATE {} item SET amount = 2 WHERE id = 2",
            "COMMIT",
        ],
        False,
    ),
    "without an xid": (["UPDATE item SET amount = 2 WHERE id IN (1, 2)"], True),
}


@pytest.mark.parametrize(("statements", "guards"), WAITING.values(), ids=WAITING.keys())
def test_who_waits_for_a_row_holds_up_nobody_else(
    place: Place, credentials: Path, statements: list[str], *, guards: bool
) -> None:
    """Of an INSERT that failed, servers may keep locks on the gaps where its first rows were to be."""
    with Proxy(place, credentials, lock_wait=timedelta(seconds=60), guards_local_writes=guards) as proxy:
        holder, waiting = proxy.begin(), proxy.begin()
        others = [proxy.begin() for _ in range(3)]
        looked = threading.Event()

        async def hook(call: str, when: str) -> None:
            if (call, when) == ("read", "after"):
                looked.set()

        def wait() -> None:
            with proxy.connect() as connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement.format(hint(waiting)))

        with proxy.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 2")
            proxy.store._hook = hook
            waiter = threading.Thread(target=wait)
            waiter.start()
            assert looked.wait(20)
            for xid in others:
                cursor.execute("SET innodb_lock_wait_timeout = 20")
                assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = 3") == 1
                proxy.decide(xid, Outcome.COMMIT)
            assert waiter.is_alive()
            proxy.decide(holder, Outcome.COMMIT)
            waiter.join(20)
        several = statements != WAITING["one row"][0]
        assert [row[2] for row in items(place)] == [2 if several else 100, 2, 303]
        assert not [row for row in undo(place) if row[2].startswith("?")]


def test_a_row_of_a_transaction_that_commits_is_taken_over(proxy: Proxy) -> None:
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
        proxy.decide(holder, Outcome.COMMIT)
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2") == 3
    assert [row[2] for row in items(proxy.place)] == [2, 2, 2]
    assert undo(proxy.place)[0] == ("item", "1", '{"id": [1], "amount": [1]}', '{"id": [1], "amount": [2]}')


def test_a_transaction_that_commits_in_time(proxy: Proxy) -> None:
    holder, xid = proxy.begin(), proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} item SET amount = 1 WHERE id = 1")
        asked = threading.Event()

        async def hook(call: str, when: str) -> None:
            if call == "read" and when == "after":
                asked.set()

        proxy.store._hook = hook

        def decide() -> None:
            assert asked.wait(20)
            proxy.decide(holder, Outcome.COMMIT)

        decided = threading.Thread(target=decide)
        decided.start()
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = 2 WHERE id = 1") == 1
        decided.join(20)
    assert items(proxy.place)[0] == (1, "bolt", 2)


def test_a_deadlock_in_the_image_leaves_nothing_behind(server: Server, proxy: Proxy) -> None:
    xid = proxy.begin()
    with (
        proxy.connect(autocommit=False) as ours,
        ours.cursor() as cursor,
        proxy.place.connect(autocommit=False) as rival,
        rival.cursor() as rivals,
    ):
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        rivals.execute("UPDATE item SET amount = 20 WHERE id > 1")
        rivals.execute(
            "UPDATE item SET name = CONCAT(name, '!') WHERE id > 1"
        )  # more to undo: we are the victim
        blocked = threading.Thread(target=lambda: rivals.execute("UPDATE item SET amount = 10 WHERE id = 1"))
        blocked.start()
        waiting = (
            "SELECT id FROM information_schema.processlist"
            f" WHERE id = {rival.thread_id()} AND state = 'Updating'"
        )
        while not server.execute(waiting):
            assert blocked.is_alive()
        with pytest.raises(pymysql.OperationalError) as deadlock:
            cursor.execute("UPDATE item SET amount = 2 WHERE id = 2")
        assert deadlock.value.args[0] == 1213
        blocked.join(20)
        rival.commit()
        assert not in_transaction(ours)
        ours.commit()
    assert items(proxy.place) == [(1, "bolt", 10), (2, "nut!", 20), (3, "washer!", 20)]
    assert (undo(proxy.place), fences(proxy.place)) == ([], [])


# Prepared statements


def test_prepared_with_the_hint(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        cursor = connection.cursor(prepared=True)
        cursor.execute(f"INSERT {hint(xid)} INTO item (name, amount) VALUES (?, ?)", ("it's \\ ; ?", 7))
        assert (cursor.rowcount, cursor.lastrowid) == (1, 4)
        cursor.execute(
            f"UPDATE {hint(xid)} item SET amount = amount - ? WHERE id = ? AND amount >= ?", (3, 4, 3)
        )
        assert cursor.rowcount == 1
        cursor.execute(f"SELECT {hint(xid)} name, amount FROM item WHERE id = ?", (4,))
        assert cursor.fetchall() == [("it's \\ ; ?", 4)]
        cursor.close()
    assert undo(proxy.place)[0][:3] == ("item", "4", None)
    assert [branch.id.app for branch in proxy.read(xid).branches] == ["order-svc"]


def test_prepared_without_a_hint_takes_part_in_a_local_transaction(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        prepared = connection.cursor(prepared=True)
        statement = "UPDATE item SET amount = ? WHERE id = ?"
        prepared.execute(statement, (101, 1))
        text = connection.cursor()
        text.execute("BEGIN")
        text.execute(f"UPDATE {hint(xid)} item SET amount = 201 WHERE id = 2")
        prepared.execute(statement, (102, 1))
        text.execute("COMMIT")
    assert undo(proxy.place) == [
        ("item", "2", '{"id": [2], "amount": [200]}', '{"id": [2], "amount": [201]}'),
        ("item", "1", '{"id": [1], "amount": [101]}', '{"id": [1], "amount": [102]}'),
    ]


@pytest.mark.parametrize("charset", ["utf8mb4", "latin1", "gbk"])
def test_parameters_of_every_kind_arrive_as_without_us(proxy: Proxy, charset: str) -> None:
    note = "größer" if charset != "gbk" else "縗\\'縗"
    values = (
        note,
        Decimal("-12345.67"),
        dt.datetime(2024, 2, 29, 12, 0, 0, 5),  # noqa: DTZ001  as the driver gives it back
        b"\x00\xff'\\" if charset != "gbk" else b"\x00\x01'\\",
        1.1,
    )
    xid = proxy.begin()
    with closing(connector(proxy, charset=charset)) as connection:
        cursor = connection.cursor(prepared=True)
        for code, carried in (("with", hint(xid)), ("without", "")):
            cursor.execute(
                f"INSERT {carried} INTO keyed (code, note, price, born, data, ratio)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (code, *values),
            )
        cursor.close()
    rows = proxy.place.rows("SELECT note, price, born, data, ratio FROM keyed ORDER BY code")
    assert rows[0] == rows[1] == values


def test_long_data_with_the_hint(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        prepared = connection.cmd_stmt_prepare(
            f"INSERT {hint(xid)} INTO keyed (code, data) VALUES (?, ?)".encode()
        )
        statement_id = prepared["statement_id"].to_bytes(4, "little")
        for piece in (b"abc", b"def"):
            connection._socket.send(b"\x18" + statement_id + b"\1\0" + piece, 0, 0)
        for code in (b"long", b"none"):
            connection._socket.send(
                b"\x17"
                + statement_id
                + b"\0\1\0\0\0"
                + (b"\0" if code == b"long" else b"\2")
                + b"\1\xfd\0\xfc\0"
                + bytes((len(code),))
                + code,
                0,
                0,
            )
            assert connection._socket.recv()[4] == 0
    assert proxy.place.rows("SELECT code, data FROM keyed ORDER BY code") == [
        ("long", b"abcdef"),
        ("none", None),
    ]


@pytest.mark.parametrize("pieces", [[(1 << 24) - 1 - 7], [(1 << 24) + 1000], [400, 700]], ids=str)
def test_long_data_that_cannot_be_kept_is_refused_with_its_execute(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, pieces: list[int]
) -> None:
    """It gets no answer of its own, so that the execute must not go without it; the connection goes on."""
    monkeypatch.setattr("globaltx_sidecar.mysql.statements.LONG_DATA_BYTES_MAX", 1000)
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SET @globaltx_xid = '{xid}'")

        def command(number: int, payload: bytes, answers: int) -> list[bytes]:
            connection._execute_command(number, payload)
            connection._result = None
            return [connection._read_packet()._data for _ in range(answers)]

        told = command(0x16, b"INSERT INTO keyed (code, data) VALUES ('long', ?)", 3)  # one parameter, an EOF
        statement_id = told[0][1:5]
        execute = statement_id + b"\0\1\0\0\0" + b"\0\1\xfc\0"
        for size in pieces:
            command(0x18, statement_id + b"\0\0" + b"x" * size, 0)
        with pytest.raises(pymysql.MySQLError) as error:
            command(0x17, execute, 1)
        assert refused(error, "StatementNotUndoable")
        command(0x18, statement_id + b"\0\0" + b"x" * 20, 0)
        assert command(0x17, execute, 1)[0][0] == 0
        assert connection.ping() is None
    assert proxy.place.rows("SELECT code, LENGTH(data) FROM keyed") == [("long", 20)]
    assert [row[0] for row in undo(proxy.place)] == ["keyed"]


# Other clients


def test_connector_in_text(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy, autocommit=False)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = %s WHERE name = %s", (1, "bolt"))
        cursor.execute("INSERT INTO item (name) VALUES (%s)", ("pin",))
        assert cursor.lastrowid == 4
        connection.commit()
    assert [row[1] for row in undo(proxy.place)] == ["1", "4"]


async def test_aiomysql(proxy: Proxy) -> None:
    xid = proxy.begin()
    connection = await aiomysql.connect(
        host="127.0.0.1", port=proxy.port, user=ACCOUNT, password=PASSWORD, db=proxy.place.schema
    )
    async with connection.cursor() as cursor:
        await cursor.execute(f"DELETE {hint(xid)} FROM item WHERE id > 1")
        assert cursor.rowcount == 2
    await connection.commit()
    await connection.ensure_closed()
    assert [row[1] for row in undo(proxy.place)] == ["2", "3"]


def test_a_client_that_leaves_in_the_middle(proxy: Proxy) -> None:
    xid = proxy.begin()
    connection = proxy.connect(autocommit=False)
    connection.cursor().execute(f"UPDATE {hint(xid)} item SET amount = 1")
    connection._force_close()
    with proxy.place.connect() as past, past.cursor() as cursor:
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")  # waits for the row lock to be let go
    assert (items(proxy.place)[0], undo(proxy.place)) == ((1, "bolt", 5), [])


def test_mysql_connector_error_has_code_and_sqlstate(proxy: Proxy) -> None:
    with closing(connector(proxy)) as connection:
        cursor = connection.cursor()
        with pytest.raises(mysql.connector.Error) as error:
            cursor.execute(f"UPDATE {hint('nonsense')} item SET amount = 1")
        assert (error.value.errno, error.value.sqlstate) == (1105, "HY000")
