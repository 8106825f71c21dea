"""How much one local transaction may change, and what that takes of the sidecar's memory."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.sidecar.mysql.harness import Proxy, hint, in_transaction, numbers
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sidecar.mysql.harness import Place

ROWS = 10_000
MIB = 1024 * 1024


@pytest.fixture
def two_rows(place: Place, credentials: Path) -> Iterator[Proxy]:
    """A sidecar whose local transactions may change two rows."""
    with Proxy(place, credentials, rows_max=2) as running:
        yield running


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} item SET amount = 1",
        "DELETE {} FROM item",
        "INSERT {} INTO item (name) VALUES ('a'), ('b'), ('c')",
        "UPDATE {} item SET id = id + 10",
        "INSERT {} INTO item (id, amount) VALUES (1, 1), (2, 2), (9, 9) ON DUPLICATE KEY UPDATE amount = 0",
    ],
)
def test_a_statement_that_changes_too_much_changes_nothing(two_rows: Proxy, change: str) -> None:
    xid = two_rows.begin()
    with two_rows.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(change.format(hint(xid)))
        assert refused(error, "StatementNotUndoable")
        assert "maxRowsPerTransaction" in error.value.args[1]
        assert not in_transaction(connection)
        assert items(two_rows.place) == ITEMS
        assert undo(two_rows.place) == []
        assert cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id < 3") == 2
    assert len(undo(two_rows.place)) == 2


def test_several_statements_that_change_too_much_are_rolled_back(two_rows: Proxy) -> None:
    xid = two_rows.begin()
    with two_rows.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        cursor.execute("SAVEPOINT a")
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 1")
        cursor.execute("ROLLBACK TO a")
        cursor.execute("UPDATE item SET amount = 3 WHERE id = 2")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute("UPDATE item SET amount = 4 WHERE id = 1")
        assert refused(error, "StatementNotUndoable")
        assert "rolled back; change at most 2 (the datasource's maxRowsPerTransaction)" in error.value.args[1]
        assert not in_transaction(connection)
    assert items(two_rows.place) == ITEMS
    assert undo(two_rows.place) == []


def test_images_that_no_commit_can_carry_are_refused_before_it(proxy: Proxy) -> None:
    proxy.place.run("INSERT INTO keyed (code, data) VALUES ('a', REPEAT('x', 4194304))")
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE {hint(xid)} keyed SET data = 'b' WHERE code = 'a'")
        cursor.execute("UPDATE item SET amount = 1 WHERE id = 1")
        proxy.place.run("INSERT INTO keyed (code, data) VALUES ('c', REPEAT('x', 4194304))")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute("DELETE FROM keyed WHERE code = 'c'")
        assert refused(error, "StatementNotUndoable")
        assert not in_transaction(connection)
    assert proxy.place.rows("SELECT code, LENGTH(data) FROM keyed ORDER BY code") == [
        ("a", 4194304),
        ("c", 4194304),
    ]
    assert items(proxy.place) == ITEMS


def test_many_rows_in_one_statement_take_bounded_memory(proxy: Proxy) -> None:
    proxy.place.run(
        f"INSERT INTO keyed (code, note, price) SELECT n, REPEAT('x', 200), n FROM {numbers(ROWS)}",
    )
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} keyed SET price = 0 WHERE code = '1'")
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            assert cursor.execute(f"UPDATE {hint(xid)} keyed SET note = REPEAT('y', 200)") == ROWS
            _, peak = tracemalloc.get_traced_memory()
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (peak - before) < 64 * MIB
    assert (after - before) < 2 * MIB
    assert len(undo(proxy.place)) == ROWS
