"""Small packets wait for nobody: neither side of the proxy gathers them, nor holds acknowledgements back."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from globaltx_sidecar.mysql.packets import Command, frame

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

SECONDS = 10
ATTEMPTS = 20
DELAYED_SECONDS = 0.04


def sockets(proxy: Proxy) -> tuple[socket.socket, socket.socket]:
    """The client's and the database's socket of the only connection."""
    (connection,) = proxy.server._environment.connections
    assert connection._client is not None
    assert connection._database is not None
    return connection._client.get_extra_info("socket"), connection._database.get_extra_info("socket")


def test_no_side_gathers_small_packets(proxy: Proxy) -> None:
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        for each in sockets(proxy):
            assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def acknowledged_after_seconds(proxy: Proxy, connection: Any) -> float:
    """How long the sidecar's kernel holds the acknowledgement of a STMT_CLOSE back, by its own word."""
    client, _ = sockets(proxy)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    connection._sock.sendall(frame(bytes((Command.STMT_CLOSE,)) + struct.pack("<I", 1), 0))
    began = time.monotonic()
    while not client.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK):
        assert time.monotonic() < began + SECONDS
    return time.monotonic() - began


def test_a_command_without_an_answer_is_acknowledged_at_once(proxy: Proxy) -> None:
    """A client that gathers small packets holds the next one back until then: the kernel's 40 ms, or none.

    Once in many times is enough: a busy machine makes some of them late, but none early.
    """
    with proxy.connect() as connection:
        seconds = (acknowledged_after_seconds(proxy, connection) for _ in range(ATTEMPTS))
        assert any(each < DELAYED_SECONDS / 2 for each in seconds)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 2")
            assert cursor.fetchall() == ((2,),)
