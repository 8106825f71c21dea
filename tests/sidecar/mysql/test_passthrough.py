"""What carries no xid works through the sidecar as it works without it, whatever the client."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any

import aiomysql
import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT, COMMAND

from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, numbers

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server
    from tests.sidecar.mysql.harness import Place, Proxy


def connector(proxy: Proxy, **options: Any) -> Any:
    """Connect with mysql-connector-python in pure Python, through the sidecar."""
    given = {
        "host": "127.0.0.1",
        "port": proxy.port,
        "user": ACCOUNT,
        "password": PASSWORD,
        "database": proxy.place.schema,
        "autocommit": True,
        "use_pure": True,
    }
    return mysql.connector.connect(**(given | options))


def test_wrong_password_is_the_servers_own_error(proxy: Proxy) -> None:
    with pytest.raises(pymysql.OperationalError) as refused:
        proxy.connect(password="wrong")
    assert refused.value.args[0] == 1045


@pytest.mark.usefixtures("large_packets")
def test_rows_of_every_size(proxy: Proxy) -> None:
    with proxy.connect(max_allowed_packet=64 << 20) as connection, connection.cursor() as cursor:
        for size in (0, 1, 250, 251, 65_535, 65_536, (1 << 24) - 5, 1 << 24, (1 << 24) + 70_000):
            cursor.execute(f"SELECT REPEAT('x', {size}), 7")
            assert cursor.fetchall() == (("x" * size, 7),)
        cursor.execute(f"SELECT n, SHA2(n, 256) FROM {numbers(100_000)}")
        assert sum(row[0] for row in cursor.fetchall()) == 100_000 * 100_001 // 2


@pytest.mark.usefixtures("large_packets")
def test_statements_of_sixteen_mebibytes_and_more(proxy: Proxy) -> None:
    data = secrets.token_bytes((1 << 24) + 1000)
    with proxy.connect(max_allowed_packet=64 << 20) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO keyed (code, data) VALUES ('big', %s)", (data,))
        cursor.execute("SELECT SHA2(data, 256), LENGTH(data) FROM keyed WHERE code = 'big'")
        assert cursor.fetchone() == (hashlib.sha256(data).hexdigest(), len(data))


def test_several_results(proxy: Proxy) -> None:
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1; UPDATE item SET amount = 5 WHERE id = 1; SELECT 2 UNION SELECT 3")
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset()
        assert cursor.rowcount == 1
        assert cursor.nextset()
        assert cursor.fetchall() == ((2,), (3,))
        assert not cursor.nextset()
        cursor.execute("SELECT 4")
        assert cursor.fetchall() == ((4,),)


def test_several_statements_stay_refused_where_they_were_not_negotiated(proxy: Proxy) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.ProgrammingError):
            cursor.execute("SELECT 1; SELECT 2")
        cursor.execute("SELECT 3")
        assert cursor.fetchall() == ((3,),)


def test_procedures_with_results(place: Place, proxy: Proxy) -> None:
    place.run(
        "CREATE PROCEDURE two(IN n INT, OUT m INT) BEGIN SELECT n; SELECT n + 1, n + 2; SET m = n * 2; END"
    )
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.callproc("two", (5, 0))
        assert cursor.fetchall() == ((5,),)
        cursor.nextset()
        assert cursor.fetchall() == ((6, 7),)
        while cursor.nextset():
            pass
        cursor.execute("SELECT @_two_1")
        assert cursor.fetchone() == (10,)


def test_local_infile(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    server.execute("SET GLOBAL local_infile = 1")
    file = tmp_path / "rows.csv"
    file.write_text("".join(f"{number},xid {number}\n" for number in range(100, 30_100)))
    with proxy.connect(local_infile=True) as connection, connection.cursor() as cursor:
        for _ in range(2):
            cursor.execute("DELETE FROM item")
            loaded = cursor.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE item FIELDS TERMINATED BY ',' (id, name)"
            )
            assert loaded == 30_000
        file.write_text("")
        cursor.execute(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE item (id, name)")
        cursor.execute("SELECT COUNT(*) FROM item WHERE name LIKE 'xid %'")
        assert cursor.fetchone() == (30_000,)


def test_init_db_and_ping_and_statistics(server: Server, proxy: Proxy) -> None:
    server.execute(f"GRANT SELECT ON mysql.* TO '{ACCOUNT}'@'%'")
    with proxy.connect() as connection, connection.cursor() as cursor:
        connection.select_db("information_schema")
        cursor.execute("SELECT DATABASE()")
        assert cursor.fetchone() == ("information_schema",)
        connection.ping(reconnect=False)
        connection._execute_command(COMMAND.COM_STATISTICS, b"")
        assert b"Uptime" in connection._read_packet().get_all_data()
        connection._execute_command(COMMAND.COM_DEBUG, b"")
        with pytest.raises(pymysql.MySQLError):
            connection._read_packet()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_change_user_and_reset_connection(proxy: Proxy) -> None:
    with closing(connector(proxy)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET @mine = 1")
        connection.cmd_change_user(username=ACCOUNT, password=PASSWORD, database=proxy.place.schema)
        cursor.execute("SELECT @mine, DATABASE()")
        assert cursor.fetchall() == [(None, proxy.place.schema)]
        cursor.execute("SET @mine = 2")
        connection.cmd_reset_connection()
        cursor.execute("SELECT @mine")
        assert cursor.fetchall() == [(None,)]
        with pytest.raises(mysql.connector.Error):
            connection.cmd_change_user(username=ACCOUNT, password="wrong")


def test_prepared_statements(proxy: Proxy) -> None:
    with closing(connector(proxy)) as connection:
        cursor = connection.cursor(prepared=True)
        cursor.execute("INSERT INTO item (name, amount) VALUES (?, ?)", ("xid", 7))
        assert (cursor.rowcount, cursor.lastrowid) == (1, 4)
        cursor.execute("INSERT INTO item (name, amount) VALUES (?, ?)", (None, -1))
        assert (cursor.rowcount, cursor.lastrowid) == (1, 5)
        cursor.execute("SELECT id, name, amount FROM item WHERE id > ?", (3,))
        assert cursor.fetchall() == [(4, "xid", 7), (5, None, -1)]
        with pytest.raises(mysql.connector.Error):
            cursor.execute("SELECT nothing FROM nowhere WHERE id = ?", (1,))
        cursor.execute("SELECT name FROM item WHERE id = ?", (1,))
        assert cursor.fetchall() == [("bolt",)]
        cursor.close()


def test_long_data(proxy: Proxy) -> None:
    data = secrets.token_bytes(300_000)
    with closing(connector(proxy)) as connection:
        prepared = connection.cmd_stmt_prepare(b"INSERT INTO keyed (code, data) VALUES ('long', ?)")
        statement_id = prepared["statement_id"]
        for start in range(0, len(data), 100_000):
            connection._socket.send(
                bytes((COMMAND.COM_STMT_SEND_LONG_DATA,))
                + statement_id.to_bytes(4, "little")
                + b"\0\0"
                + data[start : start + 100_000],
                0,
                0,
            )
        payload = (
            bytes((COMMAND.COM_STMT_EXECUTE,)) + statement_id.to_bytes(4, "little") + b"\0\1\0\0\0\0\1\xfc\0"
        )
        connection._socket.send(payload, 0, 0)
        assert connection._socket.recv()[4] == 0
        cursor = connection.cursor()
        cursor.execute("SELECT SHA2(data, 256) FROM keyed WHERE code = 'long'")
        assert cursor.fetchall() == [(hashlib.sha256(data).hexdigest(),)]


def test_cursors_on_the_server(proxy: Proxy) -> None:
    with closing(connector(proxy)) as connection:
        prepared = connection.cmd_stmt_prepare(f"SELECT n FROM {numbers(10)}".encode())
        statement_id = prepared["statement_id"].to_bytes(4, "little")
        socket = connection._socket
        socket.send(bytes((COMMAND.COM_STMT_EXECUTE,)) + statement_id + b"\1\1\0\0\0", 0, 0)
        for _ in range(3):  # column count, definition, end
            packet = socket.recv()
        assert packet[4] == 0xFE
        rows = 0
        for _ in range(4):
            socket.send(bytes((COMMAND.COM_STMT_FETCH,)) + statement_id + (3).to_bytes(4, "little"), 0, 0)
            while (packet := socket.recv())[4] == 0:
                rows += 1
            assert packet[4] == 0xFE
        assert rows == 10
        socket.send(bytes((COMMAND.COM_STMT_RESET,)) + statement_id, 0, 0)
        assert socket.recv()[4] == 0
        connection.cmd_ping()


async def test_aiomysql(proxy: Proxy) -> None:
    connection = await aiomysql.connect(
        host="127.0.0.1", port=proxy.port, user=ACCOUNT, password=PASSWORD, db=proxy.place.schema
    )
    async with connection.cursor() as cursor:
        await cursor.execute("INSERT INTO item (name) VALUES ('a')")
        await cursor.execute("SELECT COUNT(*) FROM item")
        assert await cursor.fetchone() == (4,)
    await connection.rollback()
    async with connection.cursor() as cursor:
        await cursor.execute("SELECT COUNT(*) FROM item")
        assert await cursor.fetchone() == (3,)
    await connection.ensure_closed()


def test_pipelined_commands_are_answered_in_order(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        count = 200
        queries = [b"\x03SELECT %d" % number for number in range(count)]
        connection._sock.sendall(b"".join(len(q).to_bytes(3, "little") + b"\0" + q for q in queries))
        for number in range(count):
            connection._next_seq_id = 1
            assert connection._read_query_result() == 1
            assert connection._result.rows == ((number,),)


def test_unknown_commands_get_the_servers_own_answer(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        connection._execute_command(0x45, b"what?")
        with pytest.raises(pymysql.MySQLError) as answered:
            connection._read_packet()
        assert answered.value.args[0] == 1047
        connection.ping(reconnect=False)


def test_text_that_only_looks_like_an_xid_passes(proxy: Proxy) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT '/*+ XID(\\'shop.a\\') */', 'xid'")
        assert cursor.fetchall() == (("/*+ XID('shop.a') */", "xid"),)
        cursor.execute("CREATE TABLE globaltx_xid_log (id INT)")
        cursor.execute("SELECT /*+ MAX_EXECUTION_TIME(1000) */ 'taxid'")
        assert cursor.fetchall() == (("taxid",),)
