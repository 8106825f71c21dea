"""The packets of the MySQL protocol as values: headers, integers, OK, ERR and EOF.

Shapes follow https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html and
https://mariadb.com/kb/en/clientserver-protocol/. All integers are little-endian. A payload
here is a packet without its header of four bytes (length 3, sequence number 1).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

from globaltx.values import dataclass

HEADER_LENGTH: Final = 4
PAYLOAD_LENGTH_MAX: Final = 0xFF_FF_FF
"""A packet of exactly this length is continued by the next one."""

OK_BYTE: Final = 0x00
LOCAL_INFILE_BYTE: Final = 0xFB
EOF_BYTE: Final = 0xFE
ERR_BYTE: Final = 0xFF
EOF_LENGTH: Final = 5
"""An EOF has exactly this length, an OK that stands for one (DEPRECATE_EOF) at least seven."""

_LENENC_WIDTHS: Final = {0xFC: 2, 0xFD: 3, 0xFE: 8}
LENENC_BYTE_MAX: Final = 0xFA
_U16_MAX: Final = 0xFFFF
_U24_MAX: Final = 0xFF_FF_FF
_ERR_LENGTH_MIN: Final = 3
_ERR_STATE: Final = slice(4, 9)
_STATEMENT_ID_END: Final = 5

_U16 = Struct("<H")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_PREPARE_OK = Struct("<BIHH")


class PacketError(ValueError):
    """The peer broke the protocol; the message says how. Such a connection is closed."""


class Command(IntEnum):
    """The first byte of what a client sends (COM_...)."""

    QUIT = 0x01
    INIT_DB = 0x02
    QUERY = 0x03
    FIELD_LIST = 0x04
    CREATE_DB = 0x05
    DROP_DB = 0x06
    REFRESH = 0x07
    STATISTICS = 0x09
    PROCESS_INFO = 0x0A
    PING = 0x0E
    CHANGE_USER = 0x11
    BINLOG_DUMP = 0x12
    TABLE_DUMP = 0x13
    STMT_PREPARE = 0x16
    STMT_EXECUTE = 0x17
    STMT_SEND_LONG_DATA = 0x18
    STMT_CLOSE = 0x19
    STMT_RESET = 0x1A
    SET_OPTION = 0x1B
    STMT_FETCH = 0x1C
    BINLOG_DUMP_GTID = 0x1E
    RESET_CONNECTION = 0x1F
    STMT_BULK_EXECUTE = 0xFA


class Capability(IntFlag):
    """What client and server agree on while they shake hands (CLIENT_...)."""

    FOUND_ROWS = 1 << 1
    CONNECT_WITH_DB = 1 << 3
    COMPRESS = 1 << 5
    LOCAL_FILES = 1 << 7
    PROTOCOL_41 = 1 << 9
    SSL = 1 << 11
    SECURE_CONNECTION = 1 << 15
    MULTI_STATEMENTS = 1 << 16
    MULTI_RESULTS = 1 << 17
    PLUGIN_AUTH = 1 << 19
    CONNECT_ATTRS = 1 << 20
    PLUGIN_AUTH_LENENC_CLIENT_DATA = 1 << 21
    SESSION_TRACK = 1 << 23
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_RESULTSET_METADATA = 1 << 25
    ZSTD_COMPRESSION_ALGORITHM = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27


class Status(IntFlag):
    """The server's status flags (SERVER_...)."""

    IN_TRANS = 0x0001
    AUTOCOMMIT = 0x0002
    MORE_RESULTS_EXISTS = 0x0008
    CURSOR_EXISTS = 0x0040
    NO_BACKSLASH_ESCAPES = 0x0200
    SESSION_STATE_CHANGED = 0x4000


def frame(payload: bytes, sequence: int) -> bytes:
    """Put headers before a payload; one of 16 MiB or more becomes several packets."""
    if len(payload) < PAYLOAD_LENGTH_MAX:
        return len(payload).to_bytes(3, "little") + bytes((sequence & 0xFF,)) + payload
    pieces = []
    for start in range(0, len(payload) + 1, PAYLOAD_LENGTH_MAX):
        piece = payload[start : start + PAYLOAD_LENGTH_MAX]
        pieces.append(len(piece).to_bytes(3, "little") + bytes((sequence & 0xFF,)) + piece)
        sequence += 1
    return b"".join(pieces)


def read_lenenc(data: bytes, position: int) -> tuple[int, int]:
    """Read a length-encoded integer; return it and the position behind it.

    Raises:
        PacketError: the payload ends before the integer does, or the first byte starts none.
    """
    try:
        first = data[position]
        if first <= LENENC_BYTE_MAX:
            return first, position + 1
        width = _LENENC_WIDTHS[first]
    except (IndexError, KeyError):
        message = f"no length-encoded integer at byte {position}"
        raise PacketError(message) from None
    end = position + 1 + width
    if end > len(data):
        message = f"the length-encoded integer at byte {position} is cut off"
        raise PacketError(message)
    return int.from_bytes(data[position + 1 : end], "little"), end


def read_lenenc_bytes(data: bytes, position: int) -> tuple[bytes, int]:
    """Read a length-encoded string; return it and the position behind it.

    Raises:
        PacketError: the payload ends before the string does.
    """
    length, start = read_lenenc(data, position)
    end = start + length
    if end > len(data):
        message = f"the string at byte {position} says {length} bytes, {len(data) - start} are left"
        raise PacketError(message)
    return data[start:end], end


def lenenc(value: int) -> bytes:
    """Write a length-encoded integer."""
    if value <= LENENC_BYTE_MAX:
        return bytes((value,))
    if value <= _U16_MAX:
        return b"\xfc" + _U16.pack(value)
    if value <= _U24_MAX:
        return b"\xfd" + value.to_bytes(3, "little")
    return b"\xfe" + _U64.pack(value)


@dataclass(frozen=True, slots=True)
class Ok:
    """An OK packet; ``tail`` is what follows the counts (info and session state), kept as it came."""

    affected_rows: int = 0
    insert_id: int = 0
    status: int = 0
    warnings: int = 0
    tail: bytes = b""
    header: int = OK_BYTE

    def encode(self) -> bytes:
        """Write the payload."""
        counts = lenenc(self.affected_rows) + lenenc(self.insert_id)
        flags = _U16.pack(self.status) + _U16.pack(self.warnings)
        return bytes((self.header,)) + counts + flags + self.tail

    def with_status(self, *, set_: int = 0, clear: int = 0) -> Ok:
        """Change some status flags."""
        status = (self.status | int(set_)) & ~int(clear)
        if status == self.status:
            return self
        return Ok(self.affected_rows, self.insert_id, status, self.warnings, self.tail, self.header)


def parse_ok(payload: bytes) -> Ok:
    """Read an OK packet, also one that stands for an EOF (DEPRECATE_EOF).

    Raises:
        PacketError: it is cut off.
    """
    affected_rows, position = read_lenenc(payload, 1)
    insert_id, position = read_lenenc(payload, position)
    if position + 4 > len(payload):
        message = f"an OK packet of {len(payload)} bytes is too short"
        raise PacketError(message)
    (status,) = _U16.unpack_from(payload, position)
    (warnings,) = _U16.unpack_from(payload, position + 2)
    return Ok(affected_rows, insert_id, status, warnings, payload[position + 4 :], payload[0])


def parse_eof(payload: bytes) -> Ok:
    """Read an EOF packet of the old shape as an OK.

    Raises:
        PacketError: it is cut off.
    """
    if len(payload) < EOF_LENGTH:
        message = f"an EOF packet of {len(payload)} bytes is too short"
        raise PacketError(message)
    return Ok(0, 0, _U16.unpack_from(payload, 3)[0], _U16.unpack_from(payload, 1)[0], b"", EOF_BYTE)


@dataclass(frozen=True, slots=True)
class Err:
    """An ERR packet: ``code`` as in the server's error list, ``state`` an SQLSTATE of five characters.

    The message may be in any character set: bytes that are no UTF-8 survive as surrogates.
    """

    code: int
    state: str
    message: str

    def encode(self) -> bytes:
        """Write the payload as it is sent once the handshake has begun."""
        text = self.message.encode("utf-8", "surrogateescape")
        return self._start() + b"#" + self.state.encode("latin-1") + text

    def encode_greeting(self) -> bytes:
        """Write the payload as it is sent instead of a greeting: no SQLSTATE was agreed on yet."""
        return self._start() + self.message.encode()

    def _start(self) -> bytes:
        return bytes((ERR_BYTE,)) + _U16.pack(self.code)


def parse_err(payload: bytes) -> Err:
    """Read an ERR packet, with or without SQLSTATE.

    Raises:
        PacketError: it is cut off.
    """
    if len(payload) < _ERR_LENGTH_MIN:
        message = f"an ERR packet of {len(payload)} bytes is too short"
        raise PacketError(message)
    (code,) = _U16.unpack_from(payload, 1)
    if payload[3:4] == b"#" and len(payload) >= _ERR_STATE.stop:
        state, text = payload[_ERR_STATE].decode("latin-1"), payload[_ERR_STATE.stop :]
    else:
        state, text = "HY000", payload[3:]
    return Err(code, state, text.decode("utf-8", "surrogateescape"))


@dataclass(frozen=True, slots=True)
class PrepareOk:
    """The answer to COM_STMT_PREPARE."""

    statement_id: int
    columns: int
    parameters: int


def parse_prepare_ok(payload: bytes) -> PrepareOk:
    """Read COM_STMT_PREPARE_OK.

    Raises:
        PacketError: it is cut off.
    """
    if len(payload) < _PREPARE_OK.size:
        message = f"a prepare response of {len(payload)} bytes is too short"
        raise PacketError(message)
    _, statement_id, columns, parameters = _PREPARE_OK.unpack_from(payload)
    return PrepareOk(statement_id, columns, parameters)


def parse_row(payload: bytes, columns: int) -> tuple[bytes | None, ...]:
    """Read a row of a text resultset; SQL's NULL is None.

    Raises:
        PacketError: it does not hold exactly that many values.
    """
    values: list[bytes | None] = []
    position = 0
    for _ in range(columns):
        if payload[position : position + 1] == b"\xfb":
            values.append(None)
            position += 1
        else:
            value, position = read_lenenc_bytes(payload, position)
            values.append(value)
    if position != len(payload):
        message = f"{len(payload) - position} bytes follow the last of {columns} values of a row"
        raise PacketError(message)
    return tuple(values)


def statement_id_of(payload: bytes) -> int:
    """Read the statement id that follows the command byte of the COM_STMT_ commands.

    Raises:
        PacketError: it is cut off.
    """
    if len(payload) < _STATEMENT_ID_END:
        message = "a prepared statement's command carries no statement id"
        raise PacketError(message)
    return int(_U32.unpack_from(payload, 1)[0])
