"""Whatever comes in, the sidecar neither dies nor hangs nor grows.

Logins, packets and SQL at random, against a real sidecar before a real server; ``--sequences N`` gives
another number of them, chosen anew.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

import psutil
import pymysql
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymysql.constants import COMMAND

from globaltx.undo import hint, statement
from globaltx.undo.refusal import RefusedError
from globaltx.undo.sqlmode import SqlMode
from globaltx_sidecar.mysql.packets import frame
from tests.sidecar.mysql.harness import hint as hint_of
from tests.sidecar.mysql.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sidecar.mysql.harness import Proxy

ANSWER_SECONDS = 30
GROWTH_BYTES_MAX = 64 << 20
_KILLS = 12  # COM_PROCESS_KILL would end the connections of others
_PING: Final = frame(bytes((COMMAND.COM_PING,)), 0)
_WORDS = r"""
SELECT UPDATE item SET amount = 1 WHERE id IN ( ) , ; ' " ` \ -- # /* */ /*! /*+ XID('x.y') GlobalLock()
INSERT INTO VALUES REPLACE DELETE FROM ON DUPLICATE KEY ORDER BY LIMIT ? NULL _utf8mb4 X'00' 0x 1e5 .5 @a
@globaltx_xid := BEGIN COMMIT ROLLBACK SAVEPOINT TO s autocommit PREPARE EXECUTE 'SELECT 1' AS NEW WITH
RETURNING JOIN USING EXISTS UNION é 😀 keyed code name
"""
_TEXTS = st.lists(st.sampled_from([*_WORDS.split(), "\0", "\n"]) | st.text(max_size=5), max_size=25).map(
    " ".join
)
_MODES = st.sampled_from(["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"])


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Callable[[int], settings]:
    """Settings of a test: how many inputs, if nobody says."""
    count = request.config.getoption("--sequences")

    def chosen(usual: int) -> settings:
        return settings(
            max_examples=count or usual,
            derandomize=count is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )

    return chosen


def test_no_text_breaks_the_reading_of_sql(many: Callable[[int], settings]) -> None:
    @many(500)
    @given(
        _TEXTS.map(str.encode) | st.binary(max_size=60), _MODES, st.sampled_from(["utf8mb4", "gbk", "sjis"])
    )
    def read(text: bytes, sql_mode: str, charset: str) -> None:
        mode = SqlMode.of(sql_mode, charset)
        with contextlib.suppress(RefusedError):
            taken = hint.take(text, mode)
            found = statement.analyse(taken.sql, mode)
            assert isinstance(statement.text(found, mode), bytes)

    read()


def test_no_login_breaks_it(proxy: Proxy, many: Callable[[int], settings]) -> None:
    """A login that is cut, changed, or none at all."""
    flags = struct.pack("<IIB23x", 0x00_8F_A2_85, 1 << 24, 45)
    login = (
        flags + b"app\0" + b"\x14" + bytes(20) + proxy.place.schema.encode() + b"\0mysql_native_password\0"
    )

    @many(40)
    @given(st.binary(max_size=80) | _changed(login), st.integers(0, 3), st.integers(0, 12))
    def log_in(payload: bytes, sequence: int, cut: int) -> None:
        data = frame(payload, sequence)
        with _connected(proxy) as client:
            _sent(client, data[: len(data) - cut] if cut < 4 else data)
            _drained(client)

    log_in()
    _is_well(proxy)


def _changed(data: bytes) -> st.SearchStrategy[bytes]:
    """The same with some bytes replaced."""
    spots = st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), max_size=6)
    return spots.map(lambda found: bytes(found.get(index, byte) for index, byte in enumerate(data)))


def test_no_packet_breaks_it(proxy: Proxy, many: Callable[[int], settings]) -> None:
    """After a login: any command with any bytes, then a ping; an answer comes, or the connection ends."""
    xid = proxy.begin()
    carried = f"UPDATE {hint_of(xid)} item SET amount = amount + ? WHERE id = ?".encode()
    prepare = bytes((COMMAND.COM_STMT_PREPARE,)) + carried
    execute = (
        bytes((COMMAND.COM_STMT_EXECUTE,))
        + struct.pack("<IBIBB", 1, 0, 1, 0, 1)
        + b"\x08\0\x08\0"
        + bytes(16)
    )
    payloads = (
        st.binary(min_size=1, max_size=40)
        | _changed(execute)
        | _changed(bytes((COMMAND.COM_QUERY,)) + carried)
        | st.sampled_from([prepare, execute, b"\x18\1\0\0\0\0\0abc", b"\x1f", b"\x1b\0\0", b"\x03BEGIN"])
    ).filter(lambda payload: payload[0] != _KILLS)

    @many(40)
    @given(st.lists(payloads, min_size=1, max_size=6))
    def send(sent: list[bytes]) -> None:
        with _logged_in(proxy) as connection:
            client = connection._sock
            client.settimeout(ANSWER_SECONDS)
            _sent(client, *(frame(payload, 0) for payload in sent), _PING)
            _drained(client)

    send()
    _is_well(proxy)


def test_no_sql_breaks_it(proxy: Proxy, many: Callable[[int], settings]) -> None:
    """Statements of words that mean something, with an xid: answered, and nothing is left behind."""
    xid = proxy.begin()

    @many(60)
    @given(st.lists(_TEXTS, min_size=1, max_size=4), st.booleans())
    def say(texts: list[str], carried: bool) -> None:  # noqa: FBT001  drawn
        with _logged_in(proxy) as connection:
            for text in texts:
                sql = text.replace(" ", f" {hint_of(xid)} ", 1) if carried else text
                with contextlib.suppress(pymysql.MySQLError):
                    connection._execute_command(COMMAND.COM_QUERY, sql)
                    connection._read_query_result()

    say()
    _is_well(proxy)


def test_it_does_not_grow(proxy: Proxy) -> None:
    """Many connections that say different things, the last hundred of them cost no memory."""
    process, xid = psutil.Process(), proxy.begin()

    def talk(first: int, count: int) -> None:
        for number in range(first, first + count):
            with _logged_in(proxy) as connection, contextlib.suppress(pymysql.MySQLError):
                connection.query(f"SELECT {hint_of(xid)} {number} AS c{number}, '{'x' * 5000}'")
                connection._execute_command(COMMAND.COM_QUERY, b"UPDATE \xff /*+ XID('a.b') */" + bytes(4000))
                connection._read_query_result()

    talk(0, 50)
    before = process.memory_info().rss
    talk(50, 100)
    assert process.memory_info().rss - before < GROWTH_BYTES_MAX
    _is_well(proxy)


def _connected(proxy: Proxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=ANSWER_SECONDS)
    client.recv(4096)
    return client


@contextlib.contextmanager
def _logged_in(proxy: Proxy) -> Any:
    connection = proxy.connect(read_timeout=ANSWER_SECONDS)
    try:
        yield connection
    finally:
        connection._force_close()


def _sent(client: socket.socket, *parts: bytes) -> None:
    """Say it, and that there is no more; the other side may have ended the connection before."""
    try:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass
    except OSError as error:  # Linux says so of what the other side has reset
        if error.errno != errno.ENOTCONN:
            raise


def _drained(client: socket.socket) -> None:
    """Read to the end: it must come, within the time-out of the socket."""
    with contextlib.suppress(ConnectionError):
        while client.recv(65536):
            pass


def _is_well(proxy: Proxy) -> None:
    """It serves on, and nothing of those connections is left."""
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == ((1,),)

    wait_until(lambda: proxy.server.connections == 0)
