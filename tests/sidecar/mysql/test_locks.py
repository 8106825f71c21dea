"""Locks are the rows', whoever spells the table how, at whichever sidecar."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pymysql
import pytest

from globaltx.transaction.states import Outcome, State
from tests.sidecar.mysql.conftest import TABLES
from tests.sidecar.mysql.harness import WAIT_SECONDS, Place, hint
from tests.sidecar.mysql.test_at import refused, undo
from tests.twin.mesh import Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.databases import Server
    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Proxy


@pytest.mark.parametrize("spelling", ["item", "`item`", "{schema}.item", "`{schema}` . `item`"])
def test_locks_hold_between_two_sidecars_and_spellings(
    proxy: Proxy, place: Place, credentials: Path, spelling: str
) -> None:
    """The second sidecar even has another store, and so cannot know the holder: the lock is the row's."""
    holder = proxy.begin()
    table = spelling.format(schema=place.schema)
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} {table} SET amount = 1 WHERE id = 1")
    with type(proxy)(place, credentials) as other:
        xid = other.begin()
        with other.connect() as connection, connection.cursor() as cursor:
            for sql in (
                "UPDATE {} item SET amount = 2 WHERE id = 1",
                "DELETE {} FROM item WHERE id = 1",
                "SELECT {} * FROM item WHERE id = 1 FOR UPDATE",
            ):
                with pytest.raises(pymysql.MySQLError) as error:
                    cursor.execute(sql.format(hint(xid)))
                assert refused(error, "LockConflict", 1205)
                assert str(holder) in error.value.args[1]
    assert [row[1] for row in undo(place)] == ["1"]


@pytest.fixture
def second(server: Server) -> Iterator[Place]:
    """Another database with the same tables."""
    schema = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    yield Place.made(server, schema, TABLES)
    server.execute(f"DROP DATABASE {schema}")


def _update(mesh: Mesh, datasource: int, xid: Xid, amount: int) -> pymysql.MySQLError | None:
    """Change the first item in autocommit; give the error."""
    with mesh.reach(datasource) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = {amount} WHERE id = 1")
        except pymysql.MySQLError as error:
            return error
    return None


def test_two_apps_with_one_database(place: Place, credentials: Path) -> None:
    """Each has a sidecar and a branch of its own; who comes second takes over, or gives way."""
    with Mesh([place, place], credentials) as mesh:
        first, second, third = mesh.begin(), mesh.begin(), mesh.begin()
        assert _update(mesh, 0, first, 1) is None
        waiting = _update(mesh, 1, second, 2)
        assert waiting is not None
        assert waiting.args[0] == 1205
        mesh.decide(first, Outcome.COMMIT)
        assert _update(mesh, 1, second, 2) is None
        mesh.decide(second, Outcome.ROLLBACK)
        gives_way = _update(mesh, 0, third, 3)
        assert gives_way is not None
        assert gives_way.args[0] == 1213
        settled = mesh.roll_back_all(second)
        assert [each.state for each in settled] == [State.ROLLED_BACK] * 2
        assert place.rows("SELECT amount FROM item WHERE id = 1") == [(1,)]
        assert _update(mesh, 0, third, 3) is None


def test_a_deadlock_across_two_databases(place: Place, second: Place, credentials: Path) -> None:
    """Each transaction holds a row in one and wants the other's: no server sees that, the wait ends it."""
    with Mesh([place, second], credentials) as mesh, ThreadPoolExecutor(2) as threads:
        one, two = mesh.begin(), mesh.begin()
        assert _update(mesh, 0, one, 1) is None
        assert _update(mesh, 1, two, 2) is None
        waits = [threads.submit(_update, mesh, 1, one, 1), threads.submit(_update, mesh, 0, two, 2)]
        errors = [each.result(WAIT_SECONDS) for each in waits]
        for error, holder in zip(errors, (two, one), strict=True):
            assert error is not None
            assert error.args[0] == 1205
            assert error.args[1].startswith("globaltx: LockConflict: ")
            assert str(holder) in error.args[1]
        for xid in (one, two):
            mesh.decide(xid, Outcome.ROLLBACK)
            assert {each.state for each in mesh.roll_back_all(xid)} == {State.ROLLED_BACK}
        for each in (place, second):
            assert each.rows("SELECT amount FROM item WHERE id = 1") == [(100,)]
            assert undo(each) == []
