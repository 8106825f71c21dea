"""Authentication between a client in the clear and a server behind TLS.

All goes through as it came but for two things. The packets' numbers differ, because the server
has heard one packet more, the request for TLS. And `caching_sha2_password`, when the server does
not know the password yet, hears it as it is over TLS, while a client in the clear enciphers it
with the server's key: it is given the sidecar's key, and the server the password, over TLS.
(Giving it the server's own key instead would not do: a server behind TLS takes what comes for
the password itself.)

https://dev.mysql.com/doc/dev/mysql-server/latest/page_caching_sha2_authentication_exchanges.html
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Final

from globaltx_sidecar.commands import Decipher, ShowKey, ToClient, ToDatabase
from globaltx_sidecar.mysql.handshake import NONCE_LENGTH, RESPONSE_LENGTH_MAX, HandshakeRefusedError
from globaltx_sidecar.mysql.packets import Err, PacketError, frame
from globaltx_sidecar.mysql.reader import PacketReader

if TYPE_CHECKING:
    from globaltx_sidecar.commands import Command

_SWITCH: Final = 0xFE
_CACHING_SHA2: Final = b"caching_sha2_password"
_SHA256: Final = b"sha256_password"
_FULL: Final = b"\x01\x04"
"""The server asks for the password, because it has no digest of it in its cache."""
_KEY_PLEASE: Final = b"\x02"
_MORE: Final = b"\x01"
_CIPHER_LENGTH_MIN: Final = 128
"""Bytes of the shortest RSA cipher that a client would send (1024 bits)."""

KEY_OF_ITS_OWN = Err(
    1105,
    "08004",
    "globaltx: the driver enciphered the password with a server's key that it was given beforehand; let it"
    " ask for the key instead, or give the sidecar a certificate (tls.serverSecretName) and connect with TLS",
)
SHA256_REFUSED = Err(
    1105,
    "08004",
    "globaltx: sha256_password does not pass from a connection in the clear to one with TLS; use"
    " caching_sha2_password, or give the sidecar a certificate (tls.serverSecretName) and connect with TLS",
)


class Authentication:
    """One exchange; ``client_next`` and ``database_next`` number what each is sent next."""

    def __init__(self, nonce: bytes, *, client_next: int, database_next: int) -> None:
        self.nonce = nonce
        self.client_next = client_next
        self._database_next = database_next
        self._client = PacketReader(RESPONSE_LENGTH_MAX)
        self._database = PacketReader(RESPONSE_LENGTH_MAX)
        self._other_plugin = False
        self._full = False
        self._shown = False
        self._waits = False

    def client_data(self, data: bytes) -> list[Command]:
        """Take in what the client sent.

        Raises:
            PacketError: it is too much.
            HandshakeRefusedError: it cannot be translated.
        """
        self._client.feed(data)
        if self._waits and self._client.pending > RESPONSE_LENGTH_MAX:
            message = "the client went on without waiting for an answer"
            raise PacketError(message)
        commands: list[Command] = []
        while not self._waits and (packet := self._client.next_packet()) is not None:
            self.client_next = packet.next_sequence
            commands.append(self._heard(packet.payload))
        return commands

    def database_data(self, data: bytes) -> list[Command]:
        """Take in what the database sent.

        Raises:
            PacketError: it is too much.
            HandshakeRefusedError: it cannot be translated.
        """
        self._database.feed(data)
        return [self._told(packet.payload, packet.next_sequence) for packet in self._database]

    def answered(self, value: bytes) -> list[Command]:
        """Go on with what was asked for: our public key, or what the client enciphered with it.

        Raises:
            PacketError: no password was enciphered.
        """
        self._waits = False
        if not self._shown:
            self._shown = True
            return [self._to_client(_MORE + value), *self.client_data(b"")]
        password = bytes(one ^ other for one, other in zip(value, cycle(self.nonce), strict=False))
        if not password.endswith(b"\0"):
            message = "what the client enciphered is no password"
            raise PacketError(message)
        self._full = self._shown = False
        return [self._to_database(password), *self.client_data(b"")]

    def _heard(self, payload: bytes) -> Command:
        if self._shown:
            self._waits = True
            return Decipher(payload)
        if self._full and payload == _KEY_PLEASE:
            self._waits = True
            return ShowKey()
        if self._full and len(payload) >= _CIPHER_LENGTH_MIN:
            raise HandshakeRefusedError(KEY_OF_ITS_OWN)
        return self._to_database(payload)

    def _told(self, payload: bytes, following: int) -> Command:
        self._database_next = following
        if payload[:1] == bytes((_SWITCH,)):
            plugin, _, nonce = payload[1:].partition(b"\0")
            if plugin == _SHA256:
                raise HandshakeRefusedError(SHA256_REFUSED)
            self._other_plugin = plugin != _CACHING_SHA2
            self.nonce = nonce[:NONCE_LENGTH] or self.nonce
        self._full = payload == _FULL and not self._other_plugin
        return self._to_client(payload)

    def _to_client(self, payload: bytes) -> ToClient:
        data = frame(payload, self.client_next)
        self.client_next = (self.client_next + 1) & 0xFF
        return ToClient(data)

    def _to_database(self, payload: bytes) -> ToDatabase:
        data = frame(payload, self._database_next)
        self._database_next = (self._database_next + 1) & 0xFF
        return ToDatabase(data)
