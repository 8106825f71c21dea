"""What a connection may ask about its last statement is what it would be told without the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT, COMMAND

from tests.sidecar.mysql.harness import Proxy, hint
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place

ROWS = "INSERT INTO item VALUES (1, 'bolt', 100), (2, 'nut', 200), (3, 'washer', 300), (4, 'pin', 400)"
LONG = "REPEAT('x', 100)"
CHANGES = {
    "several rows": "UPDATE {} item SET amount = amount + 1 WHERE id < 3",
    "the same values": "UPDATE {} item SET amount = 100 WHERE id < 3",
    "no row": "UPDATE {} item SET amount = 1 WHERE id = 99",
    "no row, with a warning": "UPDATE {} item SET amount = 1 WHERE id = 99 AND name = 5",
    "warnings": f"UPDATE {{}} item SET name = {LONG} WHERE id < 4",
    "an insert with a warning": f"INSERT {{}} INTO item (name) VALUES ('a'), ({LONG})",
    "an upsert": "INSERT {} INTO item VALUES (1, 'z', 9) ON DUPLICATE KEY UPDATE name = 'q'",
    "nothing inserted": "INSERT {} IGNORE INTO item VALUES (1, 'z', 9)",
    "a delete": "DELETE {} FROM item WHERE id < 3",
    "a semicolon and a warning": f"UPDATE {{}} item SET name = CONCAT(';', {LONG}) WHERE id < 3",
    "a duplicate": "INSERT {} INTO item VALUES (1, 'z', 9)",
    "no such column": "UPDATE {} item SET amount = nosuch WHERE id = 1",
}
READS = {
    "rows": "SELECT {} * FROM item WHERE id < 4 FOR UPDATE",
    "one row": "SELECT {} * FROM item LIMIT 1 FOR UPDATE",
    "none": "SELECT {} * FROM item WHERE id = 99 LOCK IN SHARE MODE",
    "warnings": "SELECT {} id, CAST('1x' AS SIGNED) FROM item WHERE id < 3 FOR UPDATE",
}
MAY_SET_LIMITS = "/*!80000 GRANT SESSION_VARIABLES_ADMIN ON *.* TO app@'%' */"
QUESTIONS = [
    ["SELECT ROW_COUNT()"],
    ["select row_count ( ) , @@warning_count,@@session.error_count", "SELECT ROW_COUNT()"],
    ["SELECT ROW_COUNT() AS n, 1 + ROW_COUNT() AS more, (SELECT @@warning_count) AS w"],
    ["SELECT id FROM item WHERE id < 5 AND (ROW_COUNT() = 2 OR id = 3) ORDER BY id"],
    ["SELECT 'ROW_COUNT()', `amount` AS `row_count` FROM item WHERE id = 4"],
    ["SET @n = ROW_COUNT()", "SELECT @n"],
    ["PING", "SELECT ROW_COUNT()"],
    ["SHOW WARNINGS", "SELECT ROW_COUNT()"],
    ["PING", "SHOW WARNINGS", "show warnings limit 1", "SHOW WARNINGS LIMIT 1, 2;", "SHOW WARNINGS"],
    ["SHOW COUNT(*) WARNINGS", "SHOW WARNINGS", "SELECT @@local.warning_count"],
    ["SELECT @@warning_count", "SHOW WARNINGS", "SELECT @@warning_count"],
    ["SHOW ERRORS", "SHOW COUNT(*) ERRORS", "SHOW WARNINGS"],
    ["SELECT id FROM item WHERE id = 4", "SHOW WARNINGS", "SELECT ROW_COUNT()"],
]
FOUND = [["SELECT FOUND_ROWS()", "SELECT FOUND_ROWS(), ROW_COUNT()"], ["PING", "SELECT FOUND_ROWS() AS n, 2"]]


def told(connection: Any, statement: str) -> list[Any]:
    """What a client can see of one statement."""
    if statement == "PING":
        connection.ping(reconnect=False)
        return []
    with connection.cursor() as cursor:
        try:
            cursor.execute(statement)
        except pymysql.MySQLError as error:
            return [error.args]
        kinds = [each[:2] for each in cursor.description or ()]
        return [kinds, cursor.rowcount, cursor._result.warning_count, *(cursor.fetchall() or ())]


def talk(outside: Any, connection: Any, statements: list[str]) -> list[list[Any]]:
    with outside.cursor() as cursor:
        cursor.execute("DELETE FROM item")
        cursor.execute(ROWS)
    return [told(connection, statement) for statement in statements]


def compare(proxy: Proxy, marked: str, statements: list[list[str]], **options: Any) -> None:
    """Say the same to the database through the sidecar and past it."""
    place = proxy.place
    with place.connect() as outside, place.connect(**options) as bare, proxy.connect(**options) as connection:
        for each in (bare, connection):
            told(each, "SET sql_mode = ''")
        for said in statements:
            expected = talk(outside, bare, [each.replace("{}", "") for each in said])
            assert talk(outside, connection, [each.replace("{}", marked) for each in said]) == expected, said


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_after_a_change_in_autocommit(proxy: Proxy, change: str) -> None:
    marked = hint(proxy.begin())
    compare(proxy, marked, [[change, *asked] for asked in QUESTIONS])


def test_of_clients_that_count_found_rows(proxy: Proxy) -> None:
    marked = hint(proxy.begin())
    said = [[CHANGES["the same values"], *asked] for asked in QUESTIONS]
    compare(proxy, marked, said, client_flag=CLIENT.FOUND_ROWS)


def test_after_several_changes_in_one_text(proxy: Proxy) -> None:
    marked = hint(proxy.begin())
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(f"{CHANGES['no row']}; {CHANGES['warnings']}".format(marked, marked))
        while cursor.nextset():
            pass
        cursor.execute("SELECT ROW_COUNT(); SELECT 2")
        assert cursor.fetchall() == ((3,),)


@pytest.mark.parametrize("change", ["warnings", "no row", "a semicolon and a warning", "a delete"])
@pytest.mark.parametrize("begin", [None, "BEGIN"])
def test_after_a_guarded_change(place: Place, credentials: Path, change: str, begin: str | None) -> None:
    opening = [begin] if begin else []
    ending = ["ROLLBACK"] if begin else []
    with Proxy(place, credentials, guards_local_writes=True) as guard:
        compare(guard, "", [[*opening, CHANGES[change], *asked, *ending] for asked in QUESTIONS])


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("begin", [None, "BEGIN"])
def test_after_a_locking_read(proxy: Proxy, read: str, begin: str | None) -> None:
    opening = [begin] if begin else []
    ending = ["ROLLBACK"] if begin else []
    marked = hint(proxy.begin())
    compare(proxy, marked, [[*opening, read, *asked, *ending] for asked in [*QUESTIONS, *FOUND]])


def test_after_a_prepared_change_and_read(proxy: Proxy) -> None:
    marked = hint(proxy.begin())
    with closing(connector(proxy)) as connection:
        asking, cursor = connection.cursor(), connection.cursor(prepared=True)
        cursor.execute(f"UPDATE {marked} item SET amount = ? WHERE id < ?", (7, 3))
        asking.execute("SELECT ROW_COUNT()")
        assert asking.fetchall() == [(2,)]
        cursor.execute(f"SELECT {marked} id FROM item WHERE id < ? FOR UPDATE", (3,))
        cursor.fetchall()
        asking.execute("SELECT FOUND_ROWS()")
        assert asking.fetchall() == [(2,)]


def test_the_question_may_follow_before_the_answer(proxy: Proxy) -> None:
    """Both are sent at once: the second waits for the first, and is still right."""
    marked = hint(proxy.begin())
    with proxy.connect() as connection:
        change = CHANGES["several rows"].format(marked).encode()
        for text in (change, b"SELECT ROW_COUNT()"):
            connection._execute_command(COMMAND.COM_QUERY, text)
            connection._result = None
        for answer in (2, 1):
            connection._next_seq_id = 1
            assert connection._read_query_result(unbuffered=False) == answer
        assert connection._result.rows == ((2,),)


def test_many_warnings_are_kept_up_to_a_bound(proxy: Proxy, server: Server) -> None:
    server.execute(MAY_SET_LIMITS)
    marked = hint(proxy.begin())
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = '', max_error_count = 65535")
        values = ",".join(f"({LONG})" for _ in range(5000))
        cursor.execute(f"INSERT {marked} INTO item (name) VALUES {values}")
        assert cursor._result.warning_count == 5000
        cursor.execute("SHOW COUNT(*) WARNINGS")
        assert cursor.fetchall() == ((5000,),)
        cursor.execute("SHOW WARNINGS")
        shown = cursor.fetchall()
        assert 1000 < len(shown) < 5000
        assert {row[1] for row in shown} == {1265}


def test_a_reset_connection_knows_nothing(proxy: Proxy) -> None:
    marked = hint(proxy.begin())
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(CHANGES["warnings"].format(marked))
        connection._execute_command(0x1F, b"")
        connection._read_ok_packet()
        cursor.execute("SHOW WARNINGS")
        assert cursor.fetchall() == ()
