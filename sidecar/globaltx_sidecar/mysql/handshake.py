"""The handshake: authentication goes straight through, only the capabilities are looked at.

The server's greeting and the client's response pass through unchanged but for the flags of
what the sidecar cannot follow, which are taken out of both: whoever speaks through it speaks
uncompressed, and in shapes of responses that `results` knows. TLS is each side's own: the
sidecar asks the server for it as the policy says, and offers it to the client if it has a
certificate and the server's side has it too, so that who asks for TLS has it all the way. What
follows (authentication switch, scrambles) is bytes to us unless only one side is in the clear
(see `authentication`).

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets.html
"""

from __future__ import annotations

from typing import Final

from globaltx.coordinator.policy import TlsMode
from globaltx.coordinator.reasons import Reason
from globaltx.values import dataclass
from globaltx_sidecar.mysql.packets import ERR_BYTE, Capability, Err, PacketError

NOT_FOLLOWED: Final = int(
    Capability.SSL
    | Capability.COMPRESS
    | Capability.ZSTD_COMPRESSION_ALGORITHM
    | Capability.OPTIONAL_RESULTSET_METADATA
    | Capability.QUERY_ATTRIBUTES
)
"""Taken out of the server's offer."""

MARIADB_FOLLOWED: Final = 1 << 2 | 1 << 3
"""Of MariaDB's extended flags (bits 32 and up) only these are offered: bulk execution, and
extended column metadata. The others (progress reports, COM_MULTI, cached metadata) would put
packets of other shapes into responses."""

GREETING_LENGTH_MAX: Final = 1024
RESPONSE_LENGTH_MAX: Final = 256 * 1024
NONCE_LENGTH: Final = 20

_PROTOCOL_VERSION = 10
_MYSQL_FLAG = 1
"""CLIENT_LONG_PASSWORD: a MariaDB server leaves it out of its greeting to say that it is one."""

TLS_REFUSED = Err(
    1105,
    "08004",
    "globaltx: this connection ends at the sidecar beside the application and TLS was not offered; connect"
    " with TLS disabled or preferred, or give the sidecar a certificate (tls.serverSecretName of the policy)",
)
COMPRESSION_REFUSED = Err(
    1105, "08004", "globaltx: compression was not offered; connect without it, the sidecar is on loopback"
)
TOO_OLD = Err(
    1105, "08004", "globaltx: the client speaks the protocol of before MySQL 4.1; use a newer driver"
)


def no_tls(mode: TlsMode) -> Err:
    """The policy insists on TLS and the server does not offer it."""
    return Err(
        2026,
        "HY000",
        f"globaltx: {Reason.DATASOURCE_UNAVAILABLE}: the database offers no TLS and the policy's tls.mode is"
        f" {mode}; switch TLS on at the server, or choose Preferred or Disabled",
    )


class HandshakeRefusedError(Exception):
    """There is no way for the two to speak; the client gets ``error`` and the connection ends."""

    def __init__(self, error: Err) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Terms:
    """What the policy says about TLS; ``shows_certificate``: the client may have it too."""

    mode: TlsMode = TlsMode.DISABLED
    shows_certificate: bool = False

    @property
    def insists(self) -> bool:
        """Whether there is no connection without TLS."""
        return self.mode in {TlsMode.REQUIRED, TlsMode.VERIFY_IDENTITY}


IN_THE_CLEAR: Final = Terms()


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the server said; ``payload`` is what the client is told."""

    payload: bytes
    version: str
    capabilities: int
    mariadb: bool
    refused: bool = False
    """The server sent an ERR instead of a greeting."""
    secured: bool = False
    """The server's side will have TLS."""
    nonce: bytes = b""
    """What scrambles are made of."""

    @property
    def offers_tls(self) -> bool:
        """Whether the client may ask for TLS."""
        return bool(self.capabilities & Capability.SSL)


def read_greeting(payload: bytes, terms: Terms = IN_THE_CLEAR) -> Greeting:
    """Read the server's first packet and take out what the sidecar cannot follow.

    Raises:
        PacketError: it is neither a greeting of protocol 10 nor an ERR.
        HandshakeRefusedError: the terms ask for TLS, and the server does not offer it.
    """
    if payload[:1] == bytes((ERR_BYTE,)):
        return Greeting(payload, "", 0, mariadb=False, refused=True)
    version_end = payload.find(b"\0", 1)
    low = version_end + 1 + 4 + 8 + 1
    if payload[:1] != bytes((_PROTOCOL_VERSION,)) or version_end < 0 or len(payload) < low + 18:
        message = "the server's first packet is no greeting of protocol 10"
        raise PacketError(message)
    high = low + 2 + 1 + 2
    extended = high + 2 + 1 + 6
    capabilities = int.from_bytes(payload[low : low + 2], "little")
    capabilities |= int.from_bytes(payload[high : high + 2], "little") << 16
    mariadb = not capabilities & _MYSQL_FLAG
    secured = bool(capabilities & Capability.SSL) and terms.mode is not TlsMode.DISABLED
    if terms.insists and not secured:
        raise HandshakeRefusedError(no_tls(terms.mode))
    capabilities &= ~NOT_FOLLOWED
    if secured and terms.shows_certificate:
        capabilities |= Capability.SSL
    edited = bytearray(payload)
    edited[low : low + 2] = (capabilities & 0xFFFF).to_bytes(2, "little")
    edited[high : high + 2] = (capabilities >> 16).to_bytes(2, "little")
    if mariadb:
        edited[extended] &= MARIADB_FOLLOWED
        edited[extended + 1 : extended + 4] = b"\0\0\0"
    version = payload[1:version_end].decode("latin-1").removeprefix("5.5.5-")
    nonce = (payload[low - 9 : low - 1] + payload[extended + 4 :])[:NONCE_LENGTH]
    return Greeting(bytes(edited), version, capabilities, mariadb, secured=secured, nonce=nonce)


@dataclass(frozen=True, slots=True)
class Response:
    """What the client answered; ``payload`` is what the server is told."""

    payload: bytes
    capabilities: int
    schema: str | None

    def has(self, capability: Capability) -> bool:
        """Whether both sides agreed on a capability."""
        return bool(self.capabilities & capability)


def asks_for_tls(payload: bytes, greeting: Greeting) -> bool:
    """Whether a client's packet is no response yet, but the request for TLS."""
    wanted = int.from_bytes(payload[:4], "little")
    return greeting.offers_tls and len(payload) == _FIXED_LENGTH and bool(wanted & Capability.SSL)


def tls_request(response: Response) -> bytes:
    """Ask the server for TLS in the client's name: by the beginning of its response.

    A server reads flags, packet size and collation here, and not again in the response behind it.
    """
    return response.payload[:_FIXED_LENGTH]


def read_response(payload: bytes, greeting: Greeting, *, over_tls: bool = False) -> Response:
    """Read the client's answer to the greeting and take out what was not offered.

    Raises:
        HandshakeRefusedError: it asks for TLS or compression, or is of before 4.1.
        PacketError: it is cut off.
    """
    wanted = int.from_bytes(payload[:4], "little")
    if not wanted & Capability.PROTOCOL_41:
        raise HandshakeRefusedError(TOO_OLD)
    if wanted & Capability.SSL and not over_tls:
        raise HandshakeRefusedError(TLS_REFUSED)
    if wanted & (Capability.COMPRESS | Capability.ZSTD_COMPRESSION_ALGORITHM):
        raise HandshakeRefusedError(COMPRESSION_REFUSED)
    if len(payload) < _FIXED_LENGTH:
        message = f"a handshake response of {len(payload)} bytes is too short"
        raise PacketError(message)
    told = wanted & ~NOT_FOLLOWED | (Capability.SSL if greeting.secured else 0)
    edited = bytearray(payload)
    edited[:4] = told.to_bytes(4, "little")
    if greeting.mariadb:
        edited[_EXTENDED] &= MARIADB_FOLLOWED
        edited[_EXTENDED + 1 : _EXTENDED + 4] = b"\0\0\0"
    return Response(bytes(edited), wanted & greeting.capabilities, _schema(payload, wanted))


_FIXED_LENGTH = 32
"""Flags 4, largest packet 4, collation 1, filler 23 (its last 4: MariaDB's extended flags)."""
_EXTENDED = 28


def _schema(payload: bytes, capabilities: int) -> str | None:
    """Find the default schema that the client asks for; None if it names none."""
    if not capabilities & Capability.CONNECT_WITH_DB:
        return None
    position = payload.index(b"\0", _FIXED_LENGTH) + 1 if b"\0" in payload[_FIXED_LENGTH:] else len(payload)
    rest = payload[position:]
    if capabilities & (Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA | Capability.SECURE_CONNECTION):
        rest = rest[1 + (rest[0] if rest else 0) :]
    else:
        rest = rest[rest.find(b"\0") + 1 :]
    return rest.split(b"\0", 1)[0].decode("utf-8", "replace") or None
