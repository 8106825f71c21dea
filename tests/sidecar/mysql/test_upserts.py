"""Statements that may meet rows that are there, through the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

UPSERT = (
    "INSERT {} INTO item (id, name) VALUES (1, 'x'), (7, 'pin') ON DUPLICATE KEY UPDATE amount = amount + 1"
)
SERIALIZED = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"
READ_COMMITTED = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


def test_in_autocommit(proxy: Proxy) -> None:
    """Whatever the session's isolation level: the sidecar's own transaction locks gaps."""
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(READ_COMMITTED)
        assert cursor.execute(UPSERT.format(hint(xid))) == 3
        assert cursor.execute(f"REPLACE {hint(xid)} INTO item VALUES (2, 'bolt', 7)") == 2
        assert cursor.execute(f"INSERT {hint(xid)} IGNORE INTO item (name) VALUES ('cap')") == 1
        assert cursor.lastrowid == 8
        assert cursor.execute(f"INSERT {hint(xid)} IGNORE INTO item (id, name) VALUES (3, 'cap')") == 0
        assert cursor.execute(f"UPDATE {hint(xid)} item SET id = 30 WHERE id = 3") == 1
        assert not in_transaction(connection)
    assert items(proxy.place) == [
        (1, "bolt", 101),
        (2, "bolt", 7),
        (7, "pin", 0),
        (8, "cap", 0),
        (30, "washer", 300),
    ]
    assert undo(proxy.place) == [
        ("item", "1", '{"id": [1], "amount": [100]}', '{"id": [1], "amount": [101]}'),
        ("item", "7", None, '{"id": [7], "name": ["pin"], "amount": [0]}'),
        (
            "item",
            "2",
            '{"id": [2], "name": ["nut"], "amount": [200]}',
            '{"id": [2], "name": ["bolt"], "amount": [7]}',
        ),
        ("item", "8", None, '{"id": [8], "name": ["cap"], "amount": [0]}'),
        ("item", "3", '{"id": [3], "name": ["washer"], "amount": [300]}', None),
        ("item", "30", None, '{"id": [30], "name": ["washer"], "amount": [300]}'),
    ]


@pytest.mark.parametrize("level", [None, SERIALIZED])
def test_in_a_local_transaction_that_locks_gaps(proxy: Proxy, level: str | None) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        if level:
            cursor.execute(level)
        assert cursor.execute(UPSERT.format(hint(xid))) == 3
        assert cursor.execute("INSERT IGNORE INTO item (id, name) VALUES (3, 'x'), (9, 'cap')") == 1
        connection.commit()
    assert items(proxy.place)[0] == (1, "bolt", 101)
    assert [row[1] for row in undo(proxy.place)] == ["1", "7", "9"]


@pytest.mark.parametrize(
    "before",
    [
        [READ_COMMITTED, "BEGIN"],
        ["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "BEGIN"],
        [
            READ_COMMITTED,
            "BEGIN",
            "SELECT * FROM item",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        ],
    ],
    ids=["for the session", "for the next transaction", "changed in the middle"],
)
def test_in_a_local_transaction_that_locks_no_gaps_it_is_refused(proxy: Proxy, before: list[str]) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        for statement in before:
            cursor.execute(statement)
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(UPSERT.format(hint(xid)))
        assert refused(error, "StatementNotUndoable")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        connection.commit()
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]


def test_a_failing_one_leaves_nothing(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError):
            cursor.execute(
                f"INSERT {hint(xid)} INTO item (id) VALUES (1) ON DUPLICATE KEY UPDATE nothing = 1"
            )
        with pytest.raises(pymysql.IntegrityError) as duplicate:
            cursor.execute(f"UPDATE {hint(xid)} item SET id = 2 WHERE id = 1")
        assert duplicate.value.args[0] == 1062
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


def test_prepared(proxy: Proxy) -> None:
    """The values come as parameters."""
    xid = proxy.begin()
    with closing(connector(proxy)) as connection, closing(connection.cursor(prepared=True)) as cursor:
        cursor.execute(f"REPLACE {hint(xid)} INTO item VALUES (?, ?, ?)", (2, "x", 1))
    assert [row[1] for row in undo(proxy.place)] == ["2"]


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_key_that_the_server_computes(proxy: Proxy, *, autocommit: bool) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=autocommit) as connection, connection.cursor() as cursor:
        assert (
            cursor.execute(f"INSERT {hint(xid)} INTO keyed (note, code) VALUES ('a', LEFT(UUID(), 32))") == 1
        )
        assert cursor.execute(f"INSERT {hint(xid)} INTO item (id, name) VALUES (LENGTH('1234567'), 'x')") == 1
        connection.commit()
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"INSERT {hint(xid)} INTO item (id) VALUES (17 / 2)")
        assert refused(error, "StatementNotUndoable")
        assert not in_transaction(connection)
    assert items(proxy.place) == [*ITEMS, (7, "x", 0)]
    assert [row[0] for row in undo(proxy.place)] == ["keyed", "item"]
