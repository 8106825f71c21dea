"""INSERT, REPLACE and DELETE with RETURNING, which only MariaDB has, through the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT, COMMAND

from globaltx.transaction.states import Outcome
from tests.conftest import ON_MARIADB, ON_MYSQL
from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Place, Proxy

STATEMENTS = {
    "generated": "INSERT {} INTO item (name) VALUES ('pin'), ('cap') RETURNING id, name AS n, amount + 1",
    "everything": "INSERT {} INTO item VALUES (9, 'pin', 5), (8, 'c;p', 6) RETURNING *",
    "computed": "INSERT {} INTO keyed (code, price) VALUES (LEFT('abc', 2), 1.5) RETURNING code, price, born",
    "one ignored": "INSERT {} IGNORE INTO item (id, name) VALUES (1, 'x'), (9, REPEAT('y', 70)) RETURNING id",
    "all ignored": "INSERT {} IGNORE INTO item (id, name) VALUES (1, 'x') RETURNING id",
    "generated, or ignored": "INSERT {} IGNORE INTO item (name) VALUES ('pin') RETURNING id",
    "updated": "INSERT {} INTO item (id, name) VALUES (1, 'x'), (9, 'y') ON DUPLICATE KEY UPDATE amount = 7"
    " RETURNING id, amount",
    "replaced": "REPLACE {} INTO item (id, name) VALUES (2, 'x'), (9, 'y') RETURNING id, name",
    "deleted": "DELETE {} FROM item WHERE id < 3 RETURNING id, CONCAT(name, '?'), (SELECT 5)",
    "the last": "DELETE {} FROM item ORDER BY id DESC LIMIT 1 RETURNING *",
    "none": "DELETE {} FROM item WHERE id = 99 RETURNING id",
    "failing": "INSERT {} INTO item (id) VALUES (9), (1) RETURNING id",
}


def packets(connection: Any, sql: str) -> list[bytes]:
    """Send a text and take the packets that answer it, as they come; of an error that alone."""
    connection._execute_command(COMMAND.COM_QUERY, sql)
    found: list[bytes] = []
    ends = 0
    while ends < 2:
        try:
            packet = connection._read_packet()
        except pymysql.MySQLError as error:
            return [repr(error).encode()]
        found.append(packet.get_all_data())
        ends += packet.is_eof_packet()
    return found


def started_anew(place: Place) -> None:
    """Put the tables back, counters too."""
    place.run(
        "TRUNCATE item",
        "TRUNCATE keyed",
        "INSERT INTO item VALUES (1, 'bolt', 100), (2, 'nut', 200), (3, 'washer', 300)",
    )


def roll_back(proxy: Proxy, xid: Any) -> None:
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])
    assert proxy.place.rows("SELECT * FROM keyed") == []


@ON_MARIADB
@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("name", STATEMENTS)
def test_the_answer_is_the_servers_own(proxy: Proxy, name: str, *, autocommit: bool) -> None:
    """Byte for byte: definitions, rows, flags and counts of warnings; and then it is undone."""
    numbers = "SELECT ROW_COUNT(), LAST_INSERT_ID()"
    with proxy.place.connect(autocommit=autocommit) as direct, direct.cursor() as cursor:
        expected = packets(direct, STATEMENTS[name].format(""))
        cursor.execute(numbers)
        told = cursor.fetchone()
        direct.commit()
    after = items(proxy.place)
    started_anew(proxy.place)
    xid = proxy.begin()
    with proxy.connect(autocommit=autocommit) as connection, connection.cursor() as cursor:
        assert packets(connection, STATEMENTS[name].format(hint(xid))) == expected
        cursor.execute(numbers)
        # The row count of an error in a local transaction is lost to a question of the sidecar's.
        assert cursor.fetchone() == told or (name == "failing" and not autocommit)
        connection.commit()
        assert not in_transaction(connection)
    assert items(proxy.place) == after
    roll_back(proxy, xid)


@ON_MARIADB
@pytest.mark.parametrize("autocommit", [True, False])
def test_prepared(proxy: Proxy, *, autocommit: bool) -> None:
    """The rows are binary ones, and long data comes along."""
    xid = proxy.begin()
    with closing(connector(proxy, autocommit=autocommit)) as connection:
        with closing(connection.cursor(prepared=True)) as cursor:
            insert = f"INSERT {hint(xid)} INTO item (name, amount) VALUES (?, ?) RETURNING id, name, amount"
            for name, key in (("pin", 4), ("cap", 5)):
                cursor.execute(insert, (name, 7))
                assert cursor.fetchall() == [(key, name, 7)]
        with closing(connection.cursor(prepared=True)) as cursor:
            data = b"\0x" * 300_000
            cursor.execute(
                f"INSERT {hint(xid)} INTO keyed (code, data) VALUES (?, ?) RETURNING code, LENGTH(data)",
                ("big", data),
            )
            assert cursor.fetchall() == [("big", 600_000)]
        with closing(connection.cursor(prepared=True)) as cursor:
            cursor.execute(f"DELETE {hint(xid)} FROM item WHERE id <= ? RETURNING id, name", (2,))
            assert cursor.fetchall() == [(1, "bolt"), (2, "nut")]
        connection.commit()
    assert items(proxy.place) == [(3, "washer", 300), (4, "pin", 7), (5, "cap", 7)]
    assert proxy.place.rows("SELECT data FROM keyed") == [(data,)]
    roll_back(proxy, xid)


@ON_MARIADB
def test_a_prepared_one_whose_text_would_have_to_change_is_refused(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection, closing(connection.cursor(prepared=True)) as cursor:
        for sql in (
            f"INSERT {hint(xid)} INTO keyed (code) VALUES (UUID()) RETURNING code",
            f"DELETE {hint(xid)} FROM item LIMIT 1 RETURNING id",
        ):
            with pytest.raises(Exception, match="send it as text"):
                cursor.execute(sql)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


@ON_MARIADB
def test_any_row(proxy: Proxy) -> None:
    """Which one is asked before, and the statement is told."""
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"DELETE {hint(xid)} FROM item LIMIT 1 RETURNING id, name")
        found = cursor.fetchall()
    assert [row[:2] for row in ITEMS if row not in items(proxy.place)] == list(found)
    roll_back(proxy, xid)


UPSERTS = (
    "REPLACE {} INTO item (name) VALUES ('x')",
    "INSERT {} INTO item (name) VALUES ('x') ON DUPLICATE KEY UPDATE amount = 1",
)


@ON_MARIADB
@pytest.mark.parametrize("verb", UPSERTS)
def test_a_generated_key_that_may_have_met_a_row_is_refused(proxy: Proxy, verb: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"{verb.format(hint(xid))} RETURNING id")
        assert refused(error, "StatementNotUndoable")
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


@ON_MARIADB
def test_in_a_batch(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"INSERT {hint(xid)} INTO item (name) VALUES ('a'), ('b') RETURNING id;"
            "UPDATE item SET amount = 1 WHERE id = 1; DELETE FROM item WHERE id = 2 RETURNING name"
        )
        assert cursor.fetchall() == ((4,), (5,))
        assert cursor.nextset()
        assert cursor.rowcount == 1
        assert cursor.nextset()
        assert cursor.fetchall() == (("nut",),)
        assert not cursor.nextset()
        cursor.execute("SELECT 1")
    assert [row[1] for row in undo(proxy.place)] == ["4", "5", "1", "2"]
    roll_back(proxy, xid)


@ON_MARIADB
def test_what_returns_too_much_is_rolled_back(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"DELETE {hint(xid)} FROM item RETURNING REPEAT('x', 9000000)")
        assert refused(error, "StatementNotUndoable")
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


@ON_MYSQL
def test_mysql_gives_its_own_error(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.ProgrammingError) as error:
            cursor.execute(f"INSERT {hint(xid)} INTO item (name) VALUES ('x') RETURNING id")
        assert error.value.args[0] == 1064
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])
