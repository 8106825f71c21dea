"""The first words of a conversation: the database's greeting, the client's response.

Both go through with the capabilities taken out that the sidecar cannot follow. TLS comes in
between: the client's, if it asks for it, before its response; the database's when the response
is there, because the request for TLS begins like it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.commands import Close, SecureClient, SecureDatabase, ToClient, ToDatabase
from globaltx_sidecar.mysql import handshake
from globaltx_sidecar.mysql.packets import ERR_BYTE, HEADER_LENGTH, PacketError, frame
from globaltx_sidecar.mysql.reader import PacketReader

if TYPE_CHECKING:
    from globaltx_sidecar.commands import Command

_TLS_REQUEST_SEQUENCE = 1
_RESPONSE_OVER_TLS_SEQUENCE = 2


class Login:
    """Greeting and response; ``response`` is set when both have passed.

    ``client_next`` and ``database_next`` number the packets that each side is sent next.
    """

    def __init__(self, terms: handshake.Terms = handshake.IN_THE_CLEAR) -> None:
        self.response: handshake.Response | None = None
        self.client_next = 2
        self.database_next = 2
        self._terms = terms
        self._greeting: handshake.Greeting | None = None
        self._over_tls = False
        self._held: handshake.Response | None = None
        self._upgrades = False
        self._database = PacketReader(handshake.GREETING_LENGTH_MAX)
        self._client = PacketReader(handshake.RESPONSE_LENGTH_MAX)

    @property
    def greeted(self) -> bool:
        """Whether the database has said a word."""
        return self._greeting is not None

    @property
    def translates(self) -> bool:
        """Whether the database's side has TLS and the client's has not."""
        return self._greeting is not None and self._greeting.secured and not self._over_tls

    @property
    def nonce(self) -> bytes:
        """What the greeting gave to make scrambles of."""
        return b"" if self._greeting is None else self._greeting.nonce

    @property
    def mariadb(self) -> bool:
        """Whether the server has shown itself to be one."""
        return self._greeting is not None and self._greeting.mariadb

    def database_data(self, data: bytes) -> list[Command]:
        """Take in what the database sent.

        Raises:
            PacketError: it is no greeting, or goes on in the clear where TLS should begin.
            HandshakeRefusedError: it cannot give what the policy insists on.
        """
        if self._greeting is not None:
            return self._lost_patience(data)
        self._database.feed(data)
        packet = self._database.next_packet()
        if packet is None:
            return []
        greeting = handshake.read_greeting(packet.payload, self._terms)
        if greeting.secured and self._database.pending:
            message = "the database said more than its greeting before TLS"
            raise PacketError(message)
        self._greeting = greeting
        told = ToClient(frame(greeting.payload, packet.sequence))
        return [told, Close("the database refused the connection")] if greeting.refused else [told]

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
        if not self._upgrades:
            return self._read_client(self._greeting)
        if self._client.pending > handshake.RESPONSE_LENGTH_MAX:
            message = "the client went on without waiting for an answer"
            raise PacketError(message)
        return []

    def secured(self) -> list[Command]:
        """Go on: the side for which TLS was asked has it now."""
        self._upgrades = False
        if self._held is None:
            self._over_tls = True
            return []
        self.response = self._held
        self.database_next = _RESPONSE_OVER_TLS_SEQUENCE + 1
        return [ToDatabase(frame(self.response.payload, _RESPONSE_OVER_TLS_SEQUENCE))]

    @property
    def tells_client(self) -> bool:
        """Whether a failure can be told the client, who is not in the midst of a TLS handshake."""
        return self._held is not None

    def take_rest(self) -> bytes:
        """Give what the client has sent after its response."""
        return self._client.take_rest()

    def _read_client(self, greeting: handshake.Greeting) -> list[Command]:
        packet = self._client.next_packet()
        if packet is None:
            return []
        self.client_next = packet.next_sequence
        if not self._over_tls and handshake.asks_for_tls(packet.payload, greeting):
            if self._client.pending:
                message = "the client went on in the clear after it had asked for TLS"
                raise PacketError(message)
            self._upgrades = True
            return [SecureClient()]
        response = handshake.read_response(packet.payload, greeting, over_tls=self._over_tls)
        if greeting.secured:
            self._upgrades = True
            self._held = response
            request = frame(handshake.tls_request(response), _TLS_REQUEST_SEQUENCE)
            return [ToDatabase(request), SecureDatabase()]
        self.response = response
        return [ToDatabase(frame(response.payload, packet.sequence))]

    def _lost_patience(self, data: bytes) -> list[Command]:
        """Let through what the server says before it was answered: that it ends the connection.

        Where TLS should begin nothing else is believed, whoever may have said it.
        """
        if self._greeting is None or not self._greeting.secured:
            return [ToClient(data)]
        if self._upgrades or data[HEADER_LENGTH : HEADER_LENGTH + 1] != bytes((ERR_BYTE,)):
            message = "the database went on in the clear where TLS should begin"
            raise PacketError(message)
        return [ToClient(data), Close("the database ended the connection")]
