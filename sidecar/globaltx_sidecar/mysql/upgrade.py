"""From a connection in the clear to TLS, in the middle of a conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_sidecar.mysql.handshake import RESPONSE_LENGTH_MAX
from globaltx_sidecar.mysql.packets import HEADER_LENGTH

if TYPE_CHECKING:
    import ssl


async def upgrade(
    transport: asyncio.Transport, context: ssl.SSLContext, *, seconds: float, host: str | None = None
) -> tuple[asyncio.Transport, bytes]:
    """Make TLS of a connection that is not being read; ``host`` is the server's name, None: we serve.

    Returns the transport to go on with, whose protocol is the one from before, and what has come
    over it already; what follows comes to the protocol as soon as the caller waits for anything.

    Raises:
        OSError: the peers do not agree, or not in time.
    """
    protocol = transport.get_protocol()
    holding = _Holding()
    secured = await asyncio.get_running_loop().start_tls(
        transport,
        holding,
        context,
        server_side=host is None,
        server_hostname=host,
        ssl_handshake_timeout=seconds,
    )
    if secured is None or holding.lost:
        message = "the connection was closed during the TLS handshake"
        raise ConnectionResetError(message)
    secured.set_protocol(protocol)
    return secured, bytes(holding.data)


class _Holding(asyncio.Protocol):
    """Holds what comes between the end of the handshake and the news of it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost = True


class FirstPacket(asyncio.BufferedProtocol):
    """Reads a client's first packet and not a byte more, then gives way to the protocol behind it.

    A client that asks for TLS may send the first bytes of TLS along, which must stay in the
    socket for who understands them.
    """

    def __init__(self, transport: asyncio.Transport, behind: asyncio.Protocol) -> None:
        self._transport = transport
        self._behind = behind
        self._buffer = bytearray(HEADER_LENGTH)
        self._filled = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give room for what is missing."""
        del sizehint
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Take in so many bytes more."""
        self._filled += nbytes
        if self._filled < len(self._buffer):
            return
        length = min(int.from_bytes(self._buffer[:3], "little"), RESPONSE_LENGTH_MAX)
        if self._filled == HEADER_LENGTH and length:
            self._buffer = self._buffer + bytes(length)
            return
        self._transport.pause_reading()
        self._transport.set_protocol(self._behind)
        self._transport.resume_reading()
        self._behind.data_received(bytes(self._buffer))

    def pause_writing(self) -> None:
        """Hand on."""
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self._behind.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand on."""
        self._behind.connection_lost(exc)
