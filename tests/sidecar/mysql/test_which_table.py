"""The table whose rows are kept for the undo is the one that the server changes, or nothing is changed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import COMMAND

from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import ACCOUNT, Proxy, hint
from tests.sidecar.mysql.test_at import ITEMS, items, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place

MORE = "UPDATE item SET amount = amount + 1 WHERE id = 1"


@pytest.fixture
def elsewhere(server: Server, place: Place) -> Iterator[str]:
    """Another schema with a table of the same name."""
    name = f"{place.schema}_other"
    server.execute(
        f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO '{ACCOUNT}'@'%';"
        f"CREATE TABLE {name}.item LIKE {place.schema}.item;"
        f"INSERT INTO {name}.item SELECT * FROM {place.schema}.item"
    )
    yield name
    server.execute(f"DROP DATABASE {name}")


def prepare(connection: Any, sql: str) -> int:
    connection._execute_command(COMMAND.COM_STMT_PREPARE, sql)
    statement, columns, parameters = struct.unpack_from("<xIHH", connection._read_packet()._data)
    for count in (parameters, columns):
        for _ in range(count + bool(count)):
            connection._read_packet()
    return int(statement)


def execute(connection: Any, statement: int) -> None:
    connection._execute_command(COMMAND.COM_STMT_EXECUTE, struct.pack("<IBI", statement, 0, 1))
    connection._read_packet()


def run(connection: Any, sql: str) -> None:
    connection._execute_command(COMMAND.COM_QUERY, sql)
    connection._read_query_result()


def use(connection: Any, schema: str) -> None:
    run(connection, f"USE {schema}")


def init_db(connection: Any, schema: str) -> None:
    connection.select_db(schema)


def commented(connection: Any, schema: str) -> None:
    run(connection, f"/* tenant */ use `{schema}`")


SWITCHES = pytest.mark.parametrize("switch", [use, init_db, commented])


@SWITCHES
@pytest.mark.parametrize("guards", [False, True])
def test_a_statement_means_the_schema_that_it_was_prepared_in(
    place: Place, credentials: Path, elsewhere: str, switch: Callable[[Any, str], None], *, guards: bool
) -> None:
    with Proxy(place, credentials, guards_local_writes=guards) as proxy, proxy.connect() as connection:
        switch(connection, elsewhere)
        statement = prepare(connection, MORE)
        switch(connection, place.schema)
        if not guards:
            run(connection, f"SET @globaltx_xid = '{proxy.begin()}'")
        with pytest.raises(pymysql.MySQLError, match="prepared in the schema"):
            execute(connection, statement)
    assert (items(place), undo(place)) == (ITEMS, [])
    assert place.rows(f"SELECT amount FROM {elsewhere}.item WHERE id = 1") == [(100,)]


@SWITCHES
def test_it_may_be_executed_there_again(
    proxy: Proxy, elsewhere: str, switch: Callable[[Any, str], None]
) -> None:
    with proxy.connect() as connection:
        statement = prepare(connection, MORE)
        switch(connection, elsewhere)
        switch(connection, proxy.place.schema)
        run(connection, f"SET @globaltx_xid = '{proxy.begin()}'")
        execute(connection, statement)
    assert items(proxy.place)[0] == (1, "bolt", 101)
    assert len(undo(proxy.place)) == 1


def test_who_changes_the_user_chooses_anew(proxy: Proxy, elsewhere: str) -> None:
    with proxy.connect() as connection:
        run(connection, f"USE {elsewhere}")
        connection._execute_command(31, b"")  # COM_RESET_CONNECTION keeps the schema
        connection._read_packet()
        statement = prepare(connection, MORE)
        run(connection, f"USE {proxy.place.schema}")
        run(connection, f"SET @globaltx_xid = '{proxy.begin()}'")
        with pytest.raises(pymysql.MySQLError, match="prepared in the schema"):
            execute(connection, statement)
    assert items(proxy.place) == ITEMS


def test_a_cascade_into_another_schema_is_seen_with_a_right_there(
    proxy: Proxy, server: Server, elsewhere: str
) -> None:
    """What `docs/limits.md` says: REFERENCES is enough. (The tests' account has all rights there.)"""
    place = proxy.place
    server.execute(
        f"REVOKE ALL ON {elsewhere}.* FROM '{ACCOUNT}'@'%';"
        f"GRANT REFERENCES ON {elsewhere}.* TO '{ACCOUNT}'@'%';"
        f"CREATE TABLE {elsewhere}.part (id INT PRIMARY KEY, item BIGINT,"
        f" FOREIGN KEY (item) REFERENCES {place.schema}.item (id) ON DELETE CASCADE)"
    )
    with (
        proxy.connect() as connection,
        pytest.raises(pymysql.MySQLError, match=f"CASCADE in {elsewhere}.part"),
    ):
        run(connection, f"DELETE {hint(proxy.begin())} FROM item WHERE id = 1")
    assert items(place) == ITEMS
    server.execute(f"DROP TABLE {elsewhere}.part")


# Temporary tables


CREATION = "CREATE TEMPORARY TABLE item (id BIGINT PRIMARY KEY, name VARCHAR(64), amount INT)"


@pytest.mark.parametrize("creation", [CREATION, f"/* a copy */ {CREATION.lower()}", "CALL shadow()"])
@pytest.mark.parametrize(
    "change",
    [
        "INSERT {} INTO item VALUES (50, 'cap', 1)",
        "UPDATE {} item SET amount = 5",
        "DELETE {} FROM item WHERE id = 9",
        "DELETE {} item FROM item JOIN keyed ON keyed.code = item.name",
    ],
)
def test_a_temporary_table_of_a_tables_name_is_not_taken_for_it(
    proxy: Proxy, creation: str, change: str
) -> None:
    place, xid = proxy.place, proxy.begin()
    place.run(f"CREATE PROCEDURE shadow() {CREATION}")
    with proxy.connect() as connection:
        run(connection, creation)
        run(connection, "INSERT INTO item VALUES (9, 'peg', 900)")
        with pytest.raises(pymysql.MySQLError, match="temporary"):
            run(connection, change.format(hint(xid)))
        run(connection, "DROP TEMPORARY TABLE item")
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
    proxy.decide(xid, Outcome.ROLLBACK)
    proxy.carry_out(xid, Outcome.ROLLBACK)
    assert items(place) == ITEMS


def test_a_guard_lets_changes_of_a_temporary_table_pass(place: Place, credentials: Path) -> None:
    with Proxy(place, credentials, guards_local_writes=True) as proxy, proxy.connect() as holder:
        run(holder, f"UPDATE {hint(proxy.begin())} item SET amount = 5 WHERE id = 1")
        with proxy.connect() as connection:
            run(connection, CREATION)
            run(connection, "INSERT INTO item VALUES (1, 'peg', 900)")
            run(connection, "UPDATE item SET amount = 901")
            with connection.cursor() as cursor:
                cursor.execute("SELECT amount FROM item")
                assert cursor.fetchall() == ((901,),)
