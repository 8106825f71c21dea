"""INSERT ... SELECT and its kin, through the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from globaltx.transaction.states import Outcome
from tests.conftest import ON_MARIADB
from tests.sidecar.mysql.harness import hint, in_transaction, numbers
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Place, Proxy

STATEMENTS = {
    "generated": "INSERT {} INTO item (name, amount) SELECT CONCAT(name, '!'), NOW() + 0 > 1 FROM item",
    "generated, by NULL": "INSERT {} INTO item SELECT NULL AS id, name, amount FROM item LIMIT 2",
    "none": "INSERT {} INTO item (name) SELECT name FROM item WHERE id = 99",
    "keys": "INSERT {} INTO item SELECT id + 10, name, amount FROM item",
    "a text": "INSERT {} INTO keyed (code, born) SELECT UPPER(i.name), NOW() FROM item i"
    " JOIN item j USING (id)",
    "a text of a number": "INSERT {} INTO keyed (code) SELECT amount FROM item WHERE id IN (SELECT 2)",
    "of a common table": "INSERT {} INTO keyed (code) WITH w AS (SELECT name FROM item) SELECT name FROM w",
    "distinct": "INSERT {} INTO keyed (code) SELECT DISTINCT amount > 100 FROM item",
    "without a table": "INSERT {} INTO item (id, name) SELECT 20, 'x;y'",
    "everything": "INSERT {} INTO item (id, name, amount) SELECT * FROM (SELECT 7 AS a, 'b', 8 AS c) AS d",
    "ignored": "INSERT {} IGNORE INTO item SELECT id + 1, REPEAT(name, 20), amount FROM item",
    "generated, or ignored": "INSERT {} IGNORE INTO tagged (tag) SELECT name FROM item",
    "several, generated, or ignored": "INSERT {} IGNORE INTO tagged (tag)"
    " VALUES ('nut'), (CONCAT('c', 'up')), ('cap'), ('pin')",
    "updated": "INSERT {} INTO item SELECT id + 2, name, amount FROM item ON DUPLICATE KEY UPDATE amount = 5",
    "updated by another key": "INSERT {} INTO tagged (id, tag) SELECT id + 9, name FROM item"
    " ON DUPLICATE KEY UPDATE tag = CONCAT(tag, '?')",
    "replaced": "REPLACE {} INTO item SELECT id + 1, name, amount FROM item",
    "replaced by another key": "REPLACE {} INTO tagged (id, tag) SELECT id + 9, name FROM item",
    "duplicate": "INSERT {} INTO item SELECT id, name, amount FROM item",
    "nonsense": "INSERT {} INTO item (id, name) SELECT nothing, 5 FROM item",
}
TAGGED = "CREATE TABLE tagged (id INT AUTO_INCREMENT PRIMARY KEY, tag VARCHAR(20) UNIQUE)"
TAGS = ((1, "nut"), (5, "cap"))


@pytest.fixture
def tagged(place: Place) -> Place:
    place.run(TAGGED, f"INSERT INTO tagged VALUES {TAGS[0]}, {TAGS[1]}")
    return place


def contents(place: Place) -> list[Any]:
    tables = {"item": "*", "tagged": "*", "keyed": "code, note, price"}
    return [place.rows(f"SELECT {columns} FROM {table} ORDER BY 1") for table, columns in tables.items()]


def started_anew(place: Place) -> None:
    """Put the tables back, counters too."""
    place.run("TRUNCATE item", "TRUNCATE keyed", "DROP TABLE tagged", TAGGED)
    place.run(f"INSERT INTO tagged VALUES {TAGS[0]}, {TAGS[1]}")
    place.run("INSERT INTO item VALUES (1, 'bolt', 100), (2, 'nut', 200), (3, 'washer', 300)")


def told(connection: Any, sql: str) -> list[Any]:
    """All that a client can learn about a statement."""
    with connection.cursor() as cursor:
        try:
            found: list[Any] = [cursor.execute(sql), cursor.lastrowid, cursor._result.message]
        except pymysql.MySQLError as error:
            return [error.args[0]]
        cursor.execute("SHOW WARNINGS")
        found.append(cursor.fetchall())
        cursor.execute("SELECT LAST_INSERT_ID()")
        return [*found, cursor.fetchall(), bool(connection.server_status & 1)]


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("name", STATEMENTS)
def test_it_is_done_as_without_and_undone(
    proxy: Proxy, tagged: Place, name: str, *, autocommit: bool
) -> None:
    before = contents(tagged)
    with tagged.connect(autocommit=autocommit) as direct:
        expected = told(direct, STATEMENTS[name].format(""))
        direct.commit()
    after = contents(tagged)
    started_anew(tagged)
    xid = proxy.begin()
    with proxy.connect(autocommit=autocommit) as connection:
        answer = told(connection, STATEMENTS[name].format(hint(xid)))
        assert answer == expected or (name == "nonsense" and answer == [1054])
        connection.commit()
        assert not in_transaction(connection)
    assert contents(tagged) == after
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert (contents(tagged), undo(tagged)) == (before, [])


@pytest.mark.parametrize("autocommit", [True, False])
def test_what_is_asked_about_the_statement_behind_it(proxy: Proxy, *, autocommit: bool) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=autocommit) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        sql = f"INSERT {hint(xid)} INTO item (name) SELECT REPEAT(name, 30) FROM item"
        cursor.execute(sql)
        cursor.execute("SELECT ROW_COUNT(), @@warning_count")
        assert cursor.fetchone() == (3, 3)
        cursor.execute(sql + " WHERE id = 1")
        cursor.execute("SHOW WARNINGS")
        assert [row[1] for row in cursor.fetchall()] == [1265]


def test_prepared(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection, closing(connection.cursor(prepared=True)) as cursor:
        cursor.execute(
            f"INSERT {hint(xid)} INTO item (name, amount) SELECT CONCAT(name, ?), ? FROM item WHERE id < ?",
            ("!", 7, 3),
        )
        assert (cursor.rowcount, cursor.lastrowid) == (2, 4)
        cursor.execute(f"REPLACE {hint(xid)} INTO item SELECT id + ?, name, amount FROM item", (1,))
    assert [row[1] for row in undo(proxy.place)][:2] == ["4", "5"]
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


@ON_MARIADB
@pytest.mark.parametrize("columns", ["(id, name) SELECT id + 10, name", "(name) SELECT name"])
def test_returning(proxy: Proxy, columns: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"INSERT {hint(xid)} INTO item {columns} FROM item WHERE id < 3 RETURNING id, name")
        found = cursor.fetchall()
        assert [name for _, name in found] == ["bolt", "nut"]
        assert list(found) == [row[:2] for row in items(proxy.place)[3:]]
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert items(proxy.place) == ITEMS


def test_rows_of_others_are_not_taken_for_new_ones(proxy: Proxy) -> None:
    """Another session has inserted since the local transaction began to read, and goes on."""
    xid = proxy.begin()
    with (
        proxy.connect(autocommit=False) as connection,
        proxy.place.connect() as other,
        connection.cursor() as cursor,
        other.cursor() as others,
    ):
        cursor.execute("SELECT COUNT(*) FROM keyed")
        others.execute("INSERT INTO item (id, name) VALUES (50, 'theirs')")
        cursor.execute(f"INSERT {hint(xid)} INTO item (name) SELECT 'ours' FROM {numbers(10)}")
        others.execute("INSERT INTO item (name) VALUES ('theirs')")
        connection.commit()
    ours = [str(key) for key, name, _ in items(proxy.place) if name == "ours"]
    assert len(ours) == 10
    assert [row[1] for row in undo(proxy.place)] == ours


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT {} INTO item (id, name) SELECT id + 10, name FROM item LIMIT 1",
        "INSERT {} INTO item (id, name) SELECT amount, MAX(name) FROM item GROUP BY amount",
        "INSERT {} INTO keyed (code) SELECT UUID() FROM item",
        "INSERT {} INTO keyed (code) SELECT name FROM item UNION SELECT 'x'",
        "INSERT {} INTO keyed (code) SELECT name FROM item FOR UPDATE",
        "REPLACE {} INTO item (name) SELECT name FROM item",
        "INSERT {} INTO item (name) SELECT name FROM item ON DUPLICATE KEY UPDATE amount = 1",
        "INSERT {} INTO keyed (note) SELECT name FROM item",
        "INSERT {} INTO keyed (code) SELECT own(name) FROM item",
    ],
)
def test_what_is_not_certain_is_refused(proxy: Proxy, sql: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(sql.format(hint(xid)))
        assert refused(error, "StatementNotUndoable")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]


@pytest.mark.parametrize("value", ["CAST('7' AS CHAR) + 0.5", "NULL", "e", "b"])
def test_a_key_that_may_be_stored_as_another_is_rolled_back(proxy: Proxy, value: str) -> None:
    """An ENUM is the number of its member, a BIT the number of its bits."""
    proxy.place.run(
        "CREATE TABLE odd (id INT PRIMARY KEY, e ENUM('5', '1'), b BIT(8))",
        "INSERT INTO odd VALUES (1, '5', b'00110101')",
    )
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"INSERT {hint(xid)} INTO odd (id) SELECT {value} FROM odd")
        assert error.value.args[0] in {1105, 1062, 1048}
        assert not in_transaction(connection)
    assert proxy.place.rows("SELECT id FROM odd") == [(1,)]
    assert undo(proxy.place) == []


def test_ten_thousand_rows_and_no_more(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        sql = f"INSERT {hint(xid)} INTO item (name) SELECT n FROM {numbers(10_000)}"
        assert cursor.execute(sql) == 10_000
        for statement in (
            f"INSERT {hint(xid)} INTO item (name) SELECT n FROM {numbers(100_000)}",
            f"INSERT {hint(xid)} INTO keyed (code) SELECT n FROM {numbers(100_000)}",
            f"REPLACE {hint(xid)} INTO keyed (code) SELECT n FROM {numbers(100_000)}",
        ):
            with pytest.raises(pymysql.MySQLError) as error:
                cursor.execute(statement)
            assert refused(error, "StatementNotUndoable")
    assert len(undo(proxy.place)) == len(items(proxy.place)) - 3 == 10_000
