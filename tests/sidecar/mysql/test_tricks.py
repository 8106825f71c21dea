"""What an application may do to a connection that could slip a change past its undo record.

Whatever the sidecar reads otherwise than the server does, a change under an xid is either taken
part in, with its record, or refused; it never just runs.
"""

from __future__ import annotations

import struct
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT, COMMAND

from globaltx.transaction.states import Outcome
from globaltx_sidecar.mysql import statements
from globaltx_sidecar.mysql.packets import frame
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, hint
from tests.sidecar.mysql.test_at import ITEMS, items, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place, Proxy

RESET = 31


def run(connection: Any, statement: str | bytes) -> None:
    """Send the very bytes, and take in all answers."""
    connection._execute_command(COMMAND.COM_QUERY, statement)
    connection._read_query_result()
    while connection._result.has_next:
        connection._read_query_result()


def no_change_is_bare(place: Place) -> None:
    """Whatever has changed has its undo record."""
    changed = {str(row[0]) for row in set(items(place)) ^ set(ITEMS)}
    assert changed <= {key for table, key, _, _ in undo(place) if table == "item"}


def refuses(connection: Any, statement: str | bytes, *codes: int) -> None:
    with pytest.raises(pymysql.MySQLError) as error:
        run(connection, statement)
    assert error.value.args[0] in (codes or (1105,)), error.value


# The sidecar's reading of SQL differs from the server's


@pytest.mark.parametrize(
    "text",
    [
        rb"UPDATE %s item SET name = \N WHERE id = 1",
        rb"UPDATE /*!50000 %s */ item SET amount = 5 WHERE id = 1",
        rb"UPDATE item /*!50000 %s SET */ /*!999999 nothing */ SET amount = 5 WHERE id = 1",
        b"UPDATE %s item SET amount = 5 WHERE id = 1\x01",
        b"/*!UPDATE*/ %s item SET amount = 5 WHERE id = 1",
        b"PREPARE s FROM 'UPDATE %s item SET amount = 5 WHERE id = 1'",
        b"EXECUTE IMMEDIATE 'UPDATE %s item SET amount = 5 WHERE id = 1'",
    ],
)
def test_a_hint_that_cannot_be_read_is_no_reason_to_leave_it_out(proxy: Proxy, text: bytes) -> None:
    carried = hint(proxy.begin()).replace("'", '"').encode()
    with proxy.connect() as connection:
        with suppress(pymysql.MySQLError):
            run(connection, text.replace(b"%s", carried))
        with suppress(pymysql.MySQLError):
            run(connection, "EXECUTE s")
    no_change_is_bare(proxy.place)


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("latin1", b"UPDATE\xa0item SET amount = 5 WHERE id = 1 %s"),
        ("latin1", b"UPDATE item\xa0SET amount = 5 WHERE id = 1 %s"),
        ("gbk", b"UPDATE %s item SET name = _binary'\xff\xff' WHERE id = 1"),
        ("big5", b"UPDATE %s item SET name = '\xa4\x5c', amount = 5 WHERE id = 1"),
        ("sjis", b"UPDATE %s item SET name = '\x83\x5c', amount = 5 WHERE id = 1"),
        ("sjis", b"UPDATE %s item SET name = '\x5c\x27', amount = 5 WHERE id = 1"),
        ("utf8mb4", b"UPDATE %s item SET name = _binary'\xff\xfe' WHERE id = 1"),
    ],
)
def test_text_in_another_character_set(proxy: Proxy, charset: str, text: bytes) -> None:
    carried = hint(proxy.begin()).encode()
    with proxy.connect() as connection:
        run(connection, f"SET NAMES {charset}")
        with suppress(pymysql.MySQLError):
            run(connection, text.replace(b"%s", carried))
    no_change_is_bare(proxy.place)


# The xid in a variable


def test_the_variable_is_taken_from_a_prepared_set(proxy: Proxy) -> None:
    xid = proxy.begin()
    with closing(connector(proxy)) as connection:
        with connection.cursor(prepared=True) as cursor:
            cursor.execute("SET @globaltx_xid = %s", (str(xid),))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")
    assert len(undo(proxy.place)) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "SET @'globaltx_xid' = '{}'",
        'SET @"GLOBALTX_XID" := "{}"',
        "SET @a = 1, @`globaltx_xid` = '{}'",
        "SELECT '{}' INTO @globaltx_xid",
        "SELECT @globaltx_xid := '{}'",
        "SELECT @'globaltx_xid' := '{}'",
        "SET @globaltx_xid = CONCAT('{}', '')",
    ],
)
def test_the_variable_is_taken_however_it_is_set_or_the_setting_is_refused(
    proxy: Proxy, setting: str
) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        refusal = None
        try:
            cursor.execute(setting.format(xid))
        except pymysql.MySQLError as error:
            refusal = error.args[0]
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 1")
    # Error 1064: a server that does not know the spelling has set nothing.
    assert refusal in {1105, 1064} if refusal else len(undo(proxy.place)) == 1


def test_the_variable_can_be_read(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @globaltx_xid")
        assert cursor.fetchall() == ((None,),)
        cursor.execute(f"SET @globaltx_xid = '{xid}'")
        cursor.execute("SELECT @globaltx_xid, 'globaltx_xid'")
        assert cursor.fetchall() == ((str(xid), "globaltx_xid"),)


def test_the_variable_among_several_statements_is_refused(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        refuses(connection, f"SET @globaltx_xid = '{xid}'; UPDATE item SET amount = 5 WHERE id = 1")
    assert items(proxy.place) == ITEMS


# Prepared statements


def test_a_prepared_savepoint_is_a_savepoint(proxy: Proxy, server: Server) -> None:
    if server.kind != "MariaDB":
        pytest.skip("MySQL prepares no SAVEPOINT")
    xid = proxy.begin()
    with closing(connector(proxy, autocommit=False)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        with connection.cursor(prepared=True) as prepared:
            prepared.execute("SAVEPOINT half_way")
        cursor.execute("UPDATE item SET amount = 5 WHERE id = 2")
        cursor.execute("ROLLBACK TO half_way")
        connection.commit()
    assert [key for _, key, _, _ in undo(proxy.place)] == ["1"]
    no_change_is_bare(proxy.place)


def execute_packet(statement_id: int) -> bytes:
    return frame(struct.pack("<BIBI", COMMAND.COM_STMT_EXECUTE, statement_id, 0, 1), 0)


def prepare_packet(sql: str) -> bytes:
    return frame(bytes((COMMAND.COM_STMT_PREPARE,)) + sql.encode(), 0)


def test_a_statement_executed_before_its_prepare_is_answered(proxy: Proxy, server: Server) -> None:
    """MariaDB's drivers send both at once; the statement is "the one prepared last"."""
    if server.kind != "MariaDB":
        pytest.skip("only MariaDB knows the statement prepared last")
    xid = proxy.begin()
    with proxy.connect() as connection:
        connection._execute_command(COMMAND.COM_STMT_PREPARE, "SELECT 1")
        connection._read_packet()
        connection._read_packet()
        connection._read_packet()
        statement = f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1"
        connection._write_bytes(prepare_packet(statement) + execute_packet(statements.LAST_PREPARED))
        connection._next_seq_id = 1
        connection._read_packet()
        connection._next_seq_id = 1
        connection._read_packet()
    assert len(undo(proxy.place)) == 1


def test_nothing_is_executed_in_place_of_a_statement_that_could_not_be_prepared(
    proxy: Proxy, server: Server
) -> None:
    if server.kind != "MariaDB":
        pytest.skip("only MariaDB knows the statement prepared last")
    xid = proxy.begin()
    with proxy.connect() as connection:
        connection._execute_command(
            COMMAND.COM_STMT_PREPARE, f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = 1"
        )
        connection._read_packet()
        connection._write_bytes(prepare_packet("UPDATE nowhere SET a = 1"))
        connection._next_seq_id = 1
        with pytest.raises(pymysql.MySQLError):
            connection._read_packet()
        connection._write_bytes(execute_packet(statements.LAST_PREPARED))
        connection._next_seq_id = 1
        with pytest.raises(pymysql.MySQLError):
            connection._read_packet()
    assert items(proxy.place) == ITEMS


def test_a_prepared_statement_whose_text_could_not_be_kept_is_refused(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "TEXT_BYTES_MAX", 10)
    xid = proxy.begin()
    with (
        closing(connector(proxy)) as connection,
        connection.cursor(prepared=True) as cursor,
        pytest.raises(mysql.connector.Error, match="close statements"),
    ):
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = %s WHERE id = 1", (5,))
    assert items(proxy.place) == ITEMS


# Settings of the session


def test_locks_hold_for_a_session_without_checks(proxy: Proxy, server: Server) -> None:
    if server.kind != "MariaDB":
        pytest.skip("only MariaDB can switch checks off")
    one, other = proxy.begin(), proxy.begin()
    with proxy.connect() as first, proxy.connect() as second:
        run(first, f"UPDATE {hint(one)} item SET amount = 5 WHERE id = 1")
        run(second, "SET check_constraint_checks = 0")
        refuses(second, f"UPDATE {hint(other)} item SET amount = 6 WHERE id = 1", 1205)
        proxy.decide(one, Outcome.COMMIT)
        run(second, f"UPDATE {hint(other)} item SET amount = 6 WHERE id = 1")
        with second.cursor() as cursor:
            cursor.execute("SELECT @@check_constraint_checks")
            assert cursor.fetchone() == (0,)
    assert [row[2:] for row in undo(proxy.place)] == [
        ('{"id": [1], "amount": [5]}', '{"id": [1], "amount": [6]}')
    ]


def test_autocommit_that_is_on_already_commits_nothing(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection:
        run(connection, "BEGIN")
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        run(connection, "SET autocommit = 1")
        run(connection, "UPDATE item SET amount = 6 WHERE id = 2")
        run(connection, "ROLLBACK")
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


@pytest.mark.parametrize("command", [(7, b"\x04"), (5, b"globaltx_never"), (6, b"globaltx_never")])
def test_old_commands_commit_no_change_without_its_record(proxy: Proxy, command: tuple[int, bytes]) -> None:
    """COM_REFRESH, COM_CREATE_DB, COM_DROP_DB."""
    xid = proxy.begin()
    with proxy.connect() as connection:
        run(connection, "BEGIN")
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        with suppress(pymysql.MySQLError):
            connection._execute_command(command[0], command[1])
            connection._read_packet()
    no_change_is_bare(proxy.place)


def test_a_reset_in_the_middle_leaves_nothing_and_carries_nothing_on(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection:
        run(connection, f"SET @globaltx_xid = '{xid}'")
        run(connection, "BEGIN")
        run(connection, "UPDATE item SET amount = 5 WHERE id = 1")
        connection._execute_command(RESET, b"")
        connection._read_packet()
        assert items(proxy.place) == ITEMS
        run(connection, "UPDATE item SET amount = 6 WHERE id = 2")
    assert undo(proxy.place) == []
    with closing(connector(proxy, autocommit=False)) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        connection.cmd_change_user(ACCOUNT, PASSWORD, proxy.place.schema)
        with connection.cursor() as cursor:
            cursor.execute("UPDATE item SET amount = 6 WHERE id = 3")
        connection.commit()
    assert undo(proxy.place) == []
    assert items(proxy.place)[0] == ITEMS[0]


@pytest.mark.parametrize(
    "setting",
    [
        "SET sql_select_limit = 1",
        "SET sql_safe_updates = 1",
        "SET sql_mode = 'ORACLE'",
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "SET completion_type = 1",
        "SET completion_type = 2",
        "SET foreign_key_checks = 0",
        "SET timestamp = 86400",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION transaction_isolation = 'SERIALIZABLE'",
    ],
)
def test_settings_that_change_what_statements_mean(proxy: Proxy, setting: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, suppress(pymysql.MySQLError):
        run(connection, setting)
        run(connection, f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id > 1")
        connection.ping(reconnect=False)
        run(connection, "BEGIN")
        run(connection, f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id < 3")
        run(connection, "COMMIT")
    no_change_is_bare(proxy.place)


@pytest.mark.parametrize("charset", ["ucs2", "utf16", "utf32", "latin1", "NULL"])
def test_a_session_that_wants_its_answers_in_another_character_set(proxy: Proxy, charset: str) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection:
        run(connection, f"SET character_set_results = {charset}")
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        run(connection, "BEGIN")
        run(connection, f"INSERT {hint(xid)} IGNORE INTO item VALUES (3, 'peg', 1), (4, 'peg', 1)")
        run(connection, "COMMIT")
    assert [key for _, key, _, _ in undo(proxy.place)] == ["1", "4"]


@pytest.mark.parametrize("between", [" ", "\t", "\n", "/**/", " WORK\t"])
def test_what_was_written_before_a_savepoint_stays_known(proxy: Proxy, between: str) -> None:
    with proxy.connect(autocommit=False) as connection:
        run(connection, "UPDATE item SET amount = 5 WHERE id = 1")
        run(connection, "SAVEPOINT a")
        run(connection, f"ROLLBACK{between}TO a")
        refuses(connection, f"UPDATE {hint(proxy.begin())} item SET amount = 6 WHERE id = 2")


@pytest.mark.parametrize(
    "change",
    [
        "DELETE {} FROM spaced",
        "UPDATE {} spaced SET note = 'x'",
        "INSERT {} INTO spaced VALUES (2, '')",
        "SELECT {} * FROM spaced FOR UPDATE",
    ],
)
@pytest.mark.parametrize("begin", ["SELECT 1", "START TRANSACTION"])
def test_another_language_is_refused(proxy: Proxy, server: Server, begin: str, change: str) -> None:
    """There the images of a CHAR without characters would be NULL, and BEGIN begins a block."""
    if server.kind != "MariaDB":
        pytest.skip("only MariaDB speaks it")
    proxy.place.run("CREATE TABLE spaced (id INT PRIMARY KEY, note CHAR(9) NOT NULL)")
    proxy.place.run("INSERT INTO spaced VALUES (1, '')")
    with proxy.connect() as connection:
        run(connection, "SET sql_mode = 'ORACLE'")
        run(connection, begin)
        refuses(connection, change.format(hint(proxy.begin())))
        run(connection, "SELECT * FROM spaced FOR UPDATE")
        run(connection, "COMMIT")
    assert proxy.place.rows("SELECT * FROM spaced") == [(1, "")]


@pytest.mark.parametrize("end", ["commit work", "/* x */ COMMIT -- y", "COMMIT AND CHAIN", "commit release"])
def test_every_commit_takes_the_records_along(proxy: Proxy, end: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection:
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        run(connection, end)
    assert len(undo(proxy.place)) == 1


@pytest.mark.parametrize(
    "end",
    [
        "/*! COMMIT */",
        "BEGIN",
        "XA END 'x'",
        "SET autocommit = 1",
        "SET @@autocommit = 1, @a = 2",
        "LOCK TABLES item WRITE",
        "CREATE TABLE t (a INT)",
        "SET PASSWORD = ''",
        "SET DEFAULT ROLE NONE",
        "SET DEFAULT ROLE NONE TO CURRENT_USER()",
        "SET DEFAULT ROLE NONE FOR CURRENT_USER()",
        "ANALYZE TABLE item",
    ],
)
def test_nothing_commits_by_the_way(proxy: Proxy, end: str) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection:
        run(connection, f"UPDATE {hint(xid)} item SET amount = 5 WHERE id = 1")
        with suppress(pymysql.MySQLError):
            run(connection, end)
    no_change_is_bare(proxy.place)
