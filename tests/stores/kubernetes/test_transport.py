"""What a transport leaves behind, without an API server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.access import Access
from globaltx.stores.kubernetes.transport import Transport
from tests.stores.kubernetes.certificate import self_signed

if TYPE_CHECKING:
    from pathlib import Path


class Silent:
    """A TLS server that takes a request and does nothing more, not even close."""

    def __init__(self, folder: Path) -> None:
        certificate, key = self_signed()
        (folder / "server.pem").write_bytes(certificate + key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "server.pem")
        self.trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trust.check_hostname = False
        self.trust.load_verify_locations(cadata=certificate.decode())

    def take(self, listener: socket.socket) -> ssl.SSLSocket:
        """Block until a request has come; give its connection."""
        accepted, _ = listener.accept()
        connection = self._context.wrap_socket(accepted, server_side=True)
        connection.recv(1 << 16)
        return connection


async def test_nothing_of_a_cancelled_request_is_open_once_it_is_closed(tmp_path: Path) -> None:
    server = Silent(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        access = Access(f"https://127.0.0.1:{listener.getsockname()[1]}", lambda: None, lambda: server.trust)
        transport = Transport(access, timeout=60, connections=1)
        request = asyncio.create_task(transport.request("GET", "/version"))
        with await asyncio.to_thread(server.take, listener) as connection:
            request.cancel()
            await asyncio.wait({request})
            await transport.close()
            with suppress(ssl.SSLError):
                assert connection.recv(1) == b""  # the farewell
            assert connection.unwrap().recv(1) == b""  # and the end
