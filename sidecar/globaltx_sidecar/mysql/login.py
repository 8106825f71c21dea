"""The first words of a conversation: the database's greeting, the client's response.

Both go through with the capabilities taken out that the sidecar cannot follow; the
authentication behind them is bytes to us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.commands import Close, ToClient, ToDatabase
from globaltx_sidecar.mysql import handshake
from globaltx_sidecar.mysql.packets import PacketError, frame
from globaltx_sidecar.mysql.reader import PacketReader

if TYPE_CHECKING:
    from globaltx_sidecar.commands import Command


class Login:
    """Greeting and response; ``response`` is set when both have passed."""

    def __init__(self) -> None:
        self.response: handshake.Response | None = None
        self._greeting: handshake.Greeting | None = None
        self._database = PacketReader(handshake.GREETING_LENGTH_MAX)
        self._client = PacketReader(handshake.RESPONSE_LENGTH_MAX)

    @property
    def greeted(self) -> bool:
        """Whether the database has said a word."""
        return self._greeting is not None

    def database_data(self, data: bytes) -> list[Command]:
        """Take in what the database sent.

        Raises:
            PacketError: it is no greeting.
        """
        if self._greeting is not None:
            return [ToClient(data)]  # it has lost patience with the client, and says so
        self._database.feed(data)
        packet = self._database.next_packet()
        if packet is None:
            return []
        self._greeting = handshake.read_greeting(packet.payload)
        told = ToClient(frame(self._greeting.payload, packet.sequence))
        return [told, Close("the database refused the connection")] if self._greeting.refused else [told]

    def client_data(self, data: bytes) -> list[Command]:
        """Take in what the client sent; what follows its response belongs to the authentication.

        Raises:
            PacketError: it is no response, or came before the greeting.
            HandshakeRefusedError: it asks for what cannot be given.
        """
        if self._greeting is None:
            message = "the client spoke before the greeting"
            raise PacketError(message)
        self._client.feed(data)
        packet = self._client.next_packet()
        if packet is None:
            return []
        self.response = handshake.read_response(packet.payload, self._greeting)
        return [ToDatabase(frame(self.response.payload, packet.sequence) + self._client.take_rest())]
