"""Conditions that read other tables, or answer differently each time, through the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
BY_OTHER_TABLE = (
    "UPDATE {} item SET amount = amount + 1 WHERE id IN (SELECT price FROM keyed WHERE code <> 'b')"
)


def test_in_autocommit(proxy: Proxy) -> None:
    proxy.place.run("INSERT INTO keyed (code, price) VALUES ('a', 1), ('b', 2), ('c', 3)")
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(BY_OTHER_TABLE.format(hint(xid))) == 2
        assert cursor.execute(f"DELETE {hint(xid)} FROM keyed WHERE NOW() > '2020-01-01' LIMIT 2") == 2
        assert cursor.execute(f"UPDATE {hint(xid)} item SET name = 'x' WHERE id = RAND() + 7") == 0
        assert cursor.execute(f"UPDATE {hint(xid)} item SET id = id + 10 WHERE id > 1 ORDER BY id") == 2
        assert not in_transaction(connection)
    assert items(proxy.place) == [(1, "bolt", 101), (12, "nut", 200), (13, "washer", 301)]
    assert len(undo(proxy.place)) == 7


@pytest.mark.parametrize("level", LEVELS)
def test_it_reads_other_tables_as_they_are_now(proxy: Proxy, level: str) -> None:
    """As the server's own UPDATE does, whatever the transaction has seen before."""
    proxy.place.run("INSERT INTO keyed (code, price) VALUES ('a', 1)")
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("SELECT * FROM item")
        if level == "SERIALIZABLE":
            connection.commit()
        proxy.place.run("UPDATE keyed SET price = 2", "UPDATE item SET amount = 222 WHERE id = 2")
        assert cursor.execute(BY_OTHER_TABLE.format(hint(xid))) == 1
        assert cursor.execute(f"UPDATE {hint(xid)} item SET name = 'x' WHERE NOW() AND id = 3") == 1
        connection.commit()
    assert items(proxy.place) == [ITEMS[0], (2, "nut", 223), (3, "x", 300)]
    assert undo(proxy.place) == [
        ("item", "2", '{"id": [2], "amount": [222]}', '{"id": [2], "amount": [223]}'),
        ("item", "3", '{"id": [3], "name": ["washer"]}', '{"id": [3], "name": ["x"]}'),
    ]


@pytest.mark.parametrize("level", LEVELS)
def test_a_failing_one_leaves_nothing(proxy: Proxy, level: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        for statement, code in (
            ("UPDATE {} item SET amount = 1 WHERE id IN (SELECT nothing FROM keyed)", 1054),
            ("UPDATE {} item SET id = 1 WHERE id IN (SELECT 2) OR NOW() < 1", 1062),
            ("DELETE {} FROM item WHERE id IN (SELECT id FROM nowhere)", 1146),
        ):
            with pytest.raises(pymysql.MySQLError) as error:
                cursor.execute(statement.format(hint(xid)))
            assert error.value.args[0] == code
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id IN (SELECT 1)")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]


def test_prepared(proxy: Proxy) -> None:
    """The parameters stand in the image and in the statement that follows it."""
    proxy.place.run("INSERT INTO keyed (code, price) VALUES ('a', 1), ('b?', 2)")
    xid = proxy.begin()
    with closing(connector(proxy)) as connection, closing(connection.cursor(prepared=True)) as cursor:
        cursor.execute(
            f"UPDATE {hint(xid)} item SET name = ? WHERE id IN (SELECT price FROM keyed WHERE code = ?)"
            " AND amount > ? AND NOW() > ? LIMIT 5",
            ("o'x?", "b?", 7, "2020-01-01"),
        )
        assert cursor.rowcount == 1
    assert items(proxy.place)[1] == (2, "o'x?", 200)
    assert len(undo(proxy.place)) == 1


def test_counts_are_the_statements_own(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT LAST_INSERT_ID(77)")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 5 WHERE id IN (SELECT 2) LIMIT 1")
        cursor.execute("SELECT ROW_COUNT(), LAST_INSERT_ID()")
        assert cursor.fetchall() == ((1, 77),)
