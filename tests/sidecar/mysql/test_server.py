"""The listening side: what it does when a database, a client or its own process goes away."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pymysql
import pytest

from globaltx_sidecar.mysql.packets import Capability, Err, frame, parse_err
from globaltx_sidecar.mysql.reader import PacketReader
from globaltx_sidecar.mysql.server import Limits
from tests.ports import free_port
from tests.sidecar.mysql.harness import Place, Proxy, hint, numbers, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from dev.databases import Server
    from globaltx.coordinator.reasons import Reason


class Tally:
    """Counts what a `Meter` is told."""

    def __init__(self) -> None:
        self.opened = self.closed = self.committed = 0
        self.refused: list[Reason] = []
        self.waited: list[float] = []

    def connection_opened(self, resource: str) -> None:
        assert resource == "order-db"
        self.opened += 1

    def connection_closed(self, resource: str) -> None:
        assert resource == "order-db"
        self.closed += 1

    def statement_refused(self, resource: str, reason: Reason) -> None:
        assert resource == "order-db"
        self.refused.append(reason)

    def branch_committed(self, resource: str) -> None:
        assert resource == "order-db"
        self.committed += 1

    def lock_waited(self, resource: str, seconds: float) -> None:
        assert resource == "order-db"
        self.waited.append(seconds)


def first_error(sock: socket.socket) -> Err:
    """The ERR that a raw connection is answered with."""
    reader = PacketReader(1 << 20)
    while True:
        data = sock.recv(65536)
        assert data, "closed without a word"
        reader.feed(data)
        for packet in reader:
            if packet.payload[0] == 0xFF:
                return parse_err(packet.payload)


def closed_by_peer(sock: socket.socket) -> bool:
    """Read to the end; False if it stays open for longer than a test may wait."""
    sock.settimeout(20)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_database_that_is_away(credentials: Path) -> None:
    with Proxy(Place("127.0.0.1", free_port(), "shop"), credentials) as proxy:
        for _ in range(2):
            with pytest.raises(pymysql.OperationalError) as error:
                proxy.connect()
            assert error.value.args[0] == 2003
            assert "globaltx: DatasourceUnavailable: cannot connect" in error.value.args[1]


def test_a_database_that_accepts_and_says_nothing(credentials: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        place = Place("127.0.0.1", mute.getsockname()[1], "shop")
        limits = Limits(connect_seconds=0.1, authentication_seconds=0.1)
        with (
            Proxy(place, credentials, limits=limits) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port)) as client,
        ):
            assert closed_by_peer(client)


def test_a_client_that_says_nothing(place: Place, credentials: Path) -> None:
    limits = Limits(connect_seconds=0.5, authentication_seconds=0.1)
    with (
        Proxy(place, credentials, limits=limits) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
    ):
        assert closed_by_peer(client)


def test_a_connection_that_the_database_ends(server: Server, proxy: Proxy) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        server.execute(f"KILL {cursor.fetchone()[0]}")
        with pytest.raises(pymysql.MySQLError):
            cursor.execute("SELECT 1")
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_the_connection_ends_in_the_middle_of_the_commit(server: Server, proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        number = cursor.fetchone()[0]
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        server.execute(f"KILL {number}")
        with pytest.raises(pymysql.MySQLError):
            connection.commit()
    assert proxy.place.rows("SELECT MAX(amount) FROM item") == [(300,)]
    assert proxy.place.rows("SELECT COUNT(*) FROM globaltx_undo") == [(0,)]


def test_an_undo_table_that_locks_nothing(proxy: Proxy) -> None:
    proxy.place.run("ALTER TABLE globaltx_undo DROP CONSTRAINT globaltx_undo_has_one_owner")
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError, match="not enforced"):
            cursor.execute(f"UPDATE {hint(proxy.begin())} item SET amount = 1")
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 1")
    assert proxy.place.rows("SELECT amount FROM item ORDER BY id") == [(2,), (200,), (300,)]


def test_garbage_costs_one_connection(proxy: Proxy) -> None:
    chance = random.Random(20261121)  # noqa: S311  the same garbage each time
    with proxy.connect() as bystander, bystander.cursor() as cursor:
        for round_ in range(40):
            garbage = chance.randbytes(chance.randrange(1, 3000))
            if round_ % 2:
                with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                    client.sendall(garbage)
                    client.shutdown(socket.SHUT_WR)
                    assert closed_by_peer(client)
            else:
                client = proxy.connect()
                client._sock.sendall(garbage)
                client._sock.shutdown(socket.SHUT_WR)
                assert closed_by_peer(client._sock)
                client._force_close()
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)
    wait_until(lambda: proxy.server.connections == 0)


@pytest.mark.parametrize(
    "payload", [b"\x17", b"\x17\x01", b"\x16/*+ XID('shop.x') */", b"\x18\1\0\0\0", b"\x19"]
)
def test_commands_that_are_cut_off(proxy: Proxy, payload: bytes) -> None:
    with proxy.connect() as bystander, bystander.cursor() as cursor:
        client = proxy.connect()
        client._sock.sendall(frame(payload, 0) + frame(b"\x01", 0))
        assert closed_by_peer(client._sock)
        client._force_close()
        cursor.execute("SELECT 1")


def test_a_client_that_insists_on_tls_is_told(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        greeting = client.recv(4096)
        assert not int.from_bytes(greeting[greeting.index(b"\0", 5) + 14 :][:2], "little") & Capability.SSL
        wanted = Capability.PROTOCOL_41 | Capability.SSL
        client.sendall(frame(int(wanted).to_bytes(4, "little") + bytes(28), 1))
        error = first_error(client)
        assert (error.code, error.state) == (1105, "08004")
        assert "TLS" in error.message
        assert closed_by_peer(client)


def test_compression_is_not_offered(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.recv(4096)
        wanted = Capability.PROTOCOL_41 | Capability.COMPRESS
        client.sendall(frame(int(wanted).to_bytes(4, "little") + bytes(28), 1))
        assert "compression" in first_error(client).message


def test_what_the_meter_is_told(place: Place, credentials: Path) -> None:
    tally = Tally()
    with Proxy(place, credentials, meter=tally) as proxy:
        xid = proxy.begin()
        with proxy.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(f"UPDATE {hint(proxy.begin())} item SET amount = 1")
            with pytest.raises(pymysql.MySQLError):
                cursor.execute(f"TRUNCATE {hint(xid)} item")
        wait_until(lambda: tally.closed == 1)
    assert (tally.opened, tally.closed, tally.committed) == (1, 1, 1)
    assert [str(reason) for reason in tally.refused] == ["LockConflict", "StatementNotUndoable"]


# Stopping


def test_stopping_lets_running_work_end(proxy: Proxy) -> None:
    xid = proxy.begin()
    idle = proxy.connect()
    with proxy.connect(autocommit=False) as busy, busy.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1")
        stopping = threading.Thread(target=lambda: proxy.call(proxy.server.stop(timedelta(seconds=20))))
        stopping.start()
        assert closed_by_peer(idle._sock)
        with pytest.raises(pymysql.OperationalError) as refused:
            proxy.connect()
        assert refused.value.args[0] == 1053
        cursor.execute("UPDATE item SET amount = 2 WHERE id = 2")
        busy.commit()
        assert closed_by_peer(busy._sock)
        stopping.join(20)
        assert not stopping.is_alive()
        busy._force_close()
    idle._force_close()
    assert proxy.place.rows("SELECT amount FROM item ORDER BY id") == [(1,), (2,), (300,)]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", proxy.port))


def test_stopping_does_not_wait_for_ever(proxy: Proxy) -> None:
    with proxy.connect(autocommit=False) as busy, busy.cursor() as cursor:
        cursor.execute("UPDATE item SET amount = 1 WHERE id = 1")
        proxy.call(proxy.server.stop(timedelta(seconds=0.1)))
        assert closed_by_peer(busy._sock)
        busy._force_close()
    wait_until(lambda: proxy.place.rows("SELECT amount FROM item WHERE id = 1 FOR UPDATE") == [(100,)])


# Back-pressure


def test_a_client_that_does_not_read_is_not_buffered_for(place: Place, credentials: Path) -> None:
    with Proxy(place, credentials, limits=Limits(buffer_bytes=64 * 1024)) as proxy:
        client = proxy.connect()
        client._sock.sendall(frame(f"\x03SELECT REPEAT('x', 1000) FROM {numbers(100_000)}".encode(), 0))
        (connection,) = proxy.server._environment.connections

        def full() -> bool:
            return connection._client is not None and connection._client.get_write_buffer_size() > 64 * 1024

        wait_until(full)
        # What the kernel had read when we stopped may still come; nothing is asked for any more.
        assert connection._client is not None
        assert connection._client.get_write_buffer_size() < 2 * 1024 * 1024
        client._next_seq_id = 1
        client._read_query_result()
        assert len(client._result.rows) == 100_000
        client.close()


def test_a_client_that_floods_is_not_buffered_for(place: Place, credentials: Path) -> None:
    with Proxy(place, credentials, limits=Limits(buffer_bytes=64 * 1024)) as proxy:
        xid = proxy.begin()
        client = proxy.connect(autocommit=False)
        cursor = client.cursor()
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = 1")
        flood = frame(b"\x03SELECT 1", 0) * 200_000

        def send() -> None:
            with suppress(OSError):  # the client leaves in the middle
                client._sock.sendall(flood)

        sender = threading.Thread(target=send)
        sender.start()
        rows = 0
        reader = PacketReader(1 << 20)
        (connection,) = proxy.server._environment.connections
        while rows < 1000:
            reader.feed(client._sock.recv(65536))
            rows += sum(packet.payload == b"\x011" for packet in reader)
            assert connection._session.held_back < 1024 * 1024
        client._force_close()
        sender.join(20)
        assert not sender.is_alive()
