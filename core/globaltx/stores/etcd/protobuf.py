"""Messages of Protocol Buffers as far as etcd's need them: written and read field by field; pure, no IO.

The wire format: https://protobuf.dev/programming-guides/encoding/. Which numbers mean what is in
``requests`` and ``messages``; a general library costs megabytes in each sidecar, and twice the time.
"""

from __future__ import annotations

from dataclasses import field
from functools import lru_cache

from globaltx.stores.etcd.errors import EtcdUnavailableError
from globaltx.values import dataclass

_VARINT, _PIECE = 0, 2
_FIXED = {1: 8, 5: 4}
"""The other kinds of fields, and how many bytes they have."""
_VARINT_BYTES_MAX = 10
_SIGN = 1 << 63
_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
"""Seven bits and no more follow: nearly every number of a message is such."""


class MessageError(EtcdUnavailableError):
    """What came is no message, or not the one that was expected: as good as no answer."""


def varint(value: int) -> bytes:
    """Write a number that is not negative."""
    if value < 0x80:  # noqa: PLR2004  seven bits
        return _ONE_BYTE[value]
    if value < 0x4000:  # noqa: PLR2004  fourteen, which most lengths are
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(512)
def head(number: int, size: int) -> bytes:
    """What stands before bytes, a text or a message of that size; the same few come again and again."""
    return varint(number << 3 | _PIECE) + varint(size)


def piece(number: int, value: bytes) -> bytes:
    """Write a field that holds bytes, a text or a message."""
    return head(number, len(value)) + value


def text(number: int, value: str) -> bytes:
    """Write a field that holds a text; an empty one is left out, which means the same."""
    return piece(number, value.encode()) if value else b""


def integer(number: int, value: int) -> bytes:
    """Write a field that holds a number, a choice or a truth; 0 is left out, which means the same."""
    return varint(number << 3 | _VARINT) + varint(value) if value else b""


@dataclass(frozen=True, slots=True)
class Fields:
    """A message as it was read: what each field holds, by its number. One that is missing is 0 or empty."""

    _integers: dict[int, int] = field(default_factory=dict)
    _pieces: dict[int, list[bytes]] = field(default_factory=dict)

    def integer(self, number: int) -> int:
        """A number; one that is negative on the other side is so here."""
        value = self._integers.get(number, 0)
        return value - 2 * _SIGN if value >= _SIGN else value

    def piece(self, number: int) -> bytes:
        """Bytes; the last ones if they are told several times."""
        found = self._pieces.get(number)
        return found[-1] if found else b""

    def text(self, number: int) -> str:
        """A text; bytes that are none come as replacement characters."""
        found = self._pieces.get(number)
        return found[-1].decode("utf-8", "replace") if found else ""

    def pieces(self, number: int) -> list[bytes]:
        """All that a repeated field holds."""
        return self._pieces.get(number, [])

    def message(self, number: int) -> Fields:
        """A message within this one.

        Raises:
            MessageError: it is none.
        """
        return read(self.piece(number))

    def __contains__(self, number: object) -> bool:
        return number in self._pieces or number in self._integers


def read(message: bytes) -> Fields:
    """Read a message; fields that nobody asks for do no harm.

    Raises:
        MessageError: it is none.
    """
    return Fields(*fields(message))


def fields(message: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """The same as it is within `Fields`: the numbers, and the pieces.

    Raises:
        MessageError: it is none.
    """
    integers: dict[int, int] = {}
    pieces: dict[int, list[bytes]] = {}
    at, end = 0, len(message)
    try:
        while at < end:
            tag = message[at]
            at += 1
            if tag >= 0x80:  # noqa: PLR2004
                tag, at = _varint(message, at - 1)
            number, kind = tag >> 3, tag & 7
            if kind in _FIXED:
                at += _FIXED[kind]
                continue
            value = message[at]
            at += 1
            if value >= 0x80:  # noqa: PLR2004  most numbers and sizes have one byte or two, which need no call
                value = value & 0x7F | message[at] << 7
                at += 1
                if value >= 0x4000:  # noqa: PLR2004
                    value, at = _varint(message, at - 2)
            if kind == _PIECE:
                pieces.setdefault(number, []).append(message[at : at + value])
                at += value
            elif kind == _VARINT:
                integers[number] = value
            else:
                told = f"a field of a message is of the kind {kind}"
                raise MessageError(told)
    except IndexError as error:
        told = "a message broke off within a number"
        raise MessageError(told) from error
    if at > end:
        told = "a message broke off"
        raise MessageError(told)
    return integers, pieces


def within(message: bytes, number: int) -> bytes:
    """The piece in a field of that number, mostly all that the message holds; empty if there is none.

    Raises:
        MessageError: it is no message.
    """
    size = len(message) - 2
    if size >= 0 and message[0] == number << 3 | _PIECE and message[1] == size < 0x80:  # noqa: PLR2004
        return message[2:]
    found = fields(message)[1].get(number)
    return found[-1] if found else b""


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins there, and where it ends.

    Raises:
        IndexError: the message ends within it.
    """
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = message[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004
            return value & 2 * _SIGN - 1, at + place + 1
    told = f"a number of a message is longer than {_VARINT_BYTES_MAX} bytes"
    raise MessageError(told)
