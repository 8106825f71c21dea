"""Reads the parameters of COM_STMT_EXECUTE: binary values to values that can be written as literals.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html and
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from struct import Struct
from typing import TYPE_CHECKING, Final

from globaltx.undo.literal import Text, Value
from globaltx_sidecar.mysql.packets import PacketError, read_lenenc_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAMETERS_AT: Final = 10
"""Behind command 1, statement id 4, flags 1, iteration count 4."""
_UNSIGNED: Final = 0x80

_INTEGER_WIDTHS: Final = {1: 1, 2: 2, 3: 4, 8: 8, 9: 4, 13: 2}
_FLOATS: Final = {4: Struct("<f"), 5: Struct("<d")}
_NULL: Final = 6
_DATES: Final = frozenset({7, 10, 12})
_TIME: Final = 11
_DECIMALS: Final = frozenset({0, 246})
_BINARIES: Final = frozenset({249, 250, 251, 252, 255})
_TEXTS: Final = frozenset({15, 16, 245, 247, 248, 253, 254})
"""VARCHAR, BIT, JSON, ENUM, SET, VAR_STRING, STRING: sent as strings in the connection's charset."""

_UNICODE: Final = frozenset({"utf8mb4", "utf8mb3", "utf8"})
_FOUR_BYTES: Final = 0xF0
"""The first byte of a character outside of utf8mb3."""
_DATETIME_LENGTHS: Final = frozenset({0, 4, 7, 11})
_TIME_LENGTHS: Final = frozenset({0, 8, 12})


def types_of(payload: bytes, count: int) -> bytes | None:
    """Cut the parameters' types (two bytes each) out of an execute; None if it leaves them as they were."""
    flag = _PARAMETERS_AT + (count + 7) // 8
    if not count or payload[flag : flag + 1] != b"\x01":
        return None
    return payload[flag + 1 : flag + 1 + 2 * count]


def with_types(payload: bytes, count: int, types: bytes) -> bytes:
    """Write an execute with its parameters' types, though it has left them out."""
    flag = _PARAMETERS_AT + (count + 7) // 8
    if not count or payload[flag : flag + 1] == b"\x01":
        return payload
    return payload[:flag] + b"\x01" + types + payload[flag + 1 :]


def read_parameters(
    payload: bytes, count: int, types: bytes, charset: str, long_data: Mapping[int, bytes]
) -> tuple[Value, ...]:
    """Read the values of an execute.

    ``types`` are those of this execute or of an earlier one; ``long_data`` holds by index what
    came in COM_STMT_SEND_LONG_DATA and is not in the payload.

    Raises:
        PacketError: the payload does not hold such parameters.
    """
    if len(types) != 2 * count:
        message = f"an execute with {count} parameters carries {len(types) // 2} types"
        raise PacketError(message)
    if not count:
        return ()
    nulls = payload[_PARAMETERS_AT : _PARAMETERS_AT + (count + 7) // 8]
    position = _PARAMETERS_AT + len(nulls) + 1
    if payload[position - 1 : position] == b"\x01":
        position += 2 * count
    reader = _Values(payload, position, charset)
    values: list[Value] = []
    for index in range(count):
        kind, flags = types[2 * index], types[2 * index + 1]
        if index in long_data:
            values.append(_string(kind, bytes(long_data[index]), charset))
        elif nulls[index // 8 : index // 8 + 1] and nulls[index // 8] >> index % 8 & 1:
            values.append(None)
        else:
            values.append(reader.value(kind, unsigned=bool(flags & _UNSIGNED)))
    if reader.position != len(payload):
        message = f"{len(payload) - reader.position} bytes follow the last of {count} parameters"
        raise PacketError(message)
    return tuple(values)


class _Values:
    """Reads one value after the other."""

    def __init__(self, payload: bytes, position: int, charset: str) -> None:
        self._payload = payload
        self._charset = charset
        self.position = position

    def value(self, kind: int, *, unsigned: bool) -> Value:
        if (width := _INTEGER_WIDTHS.get(kind)) is not None:
            return int.from_bytes(self._take(width), "little", signed=not unsigned)
        if (layout := _FLOATS.get(kind)) is not None:
            return float(layout.unpack(self._take(layout.size))[0])
        if kind == _NULL:
            return None
        if kind in _DATES:
            return Text(_datetime(self._counted(_DATETIME_LENGTHS)), "ascii")
        if kind == _TIME:
            return Text(_time(self._counted(_TIME_LENGTHS)), "ascii")
        data, self.position = read_lenenc_bytes(self._payload, self.position)
        return _string(kind, data, self._charset)

    def _take(self, width: int) -> bytes:
        data = self._payload[self.position : self.position + width]
        if len(data) < width:
            message = f"a parameter at byte {self.position} is cut off"
            raise PacketError(message)
        self.position += width
        return data

    def _counted(self, lengths: frozenset[int]) -> bytes:
        length = self._take(1)[0]
        if length not in lengths:
            message = f"a date or time of {length} bytes"
            raise PacketError(message)
        return self._take(length)


def _string(kind: int, data: bytes, charset: str) -> Value:
    if kind in _BINARIES:
        return data
    if kind in _DECIMALS:
        return _decimal(data, charset)
    if kind in _TEXTS:
        return data if charset in _UNICODE and not _is_text(data, charset) else Text(data, charset)
    message = f"a parameter of the unknown type {kind}"
    raise PacketError(message)


def _is_text(data: bytes, charset: str) -> bool:
    """Whether a literal of that character set may hold the bytes.

    The server does not look at a parameter's bytes until it needs characters: drivers send
    binary data as strings into BLOBs. A literal must be text, so such bytes become a binary one.
    """
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return charset == "utf8mb4" or max(data, default=0) < _FOUR_BYTES


def _decimal(data: bytes, charset: str) -> Value:
    try:
        value = Decimal(data.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return Text(data, charset)
    return value if value.is_finite() else Text(data, charset)


def _datetime(data: bytes) -> bytes:
    """Write a date of 0, 4, 7 or 11 bytes: year 2, month, day, hour, minute, second, microseconds 4."""
    fields = data.ljust(11, b"\0")
    date = f"{int.from_bytes(fields[:2], 'little'):04}-{fields[2]:02}-{fields[3]:02}"
    if len(data) in {0, 4}:
        return date.encode()
    return f"{date} {_clock(fields[4], fields[5], fields[6], fields[7:11])}".encode()


def _time(data: bytes) -> bytes:
    """Write a time of 0, 8 or 12 bytes: negative 1, days 4, hour, minute, second, microseconds 4."""
    fields = data.ljust(12, b"\0")
    hours = int.from_bytes(fields[1:5], "little") * 24 + fields[5]
    return f"{'-' if fields[0] else ''}{_clock(hours, fields[6], fields[7], fields[8:12])}".encode()


def _clock(hours: int, minutes: int, seconds: int, micros: bytes) -> str:
    fraction = int.from_bytes(micros, "little")
    return f"{hours:02}:{minutes:02}:{seconds:02}" + (f".{fraction:06}" if fraction else "")
