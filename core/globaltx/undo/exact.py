"""A value for a column of a key, as the server will store it; or nothing, when it might store another."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING

from globaltx.undo import keys, literal
from globaltx.undo.literal import Text
from globaltx.undo.shape import Column, Kind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.undo.literal import Value

_RANGES = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d{0,6}))?)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NO_PADDING = re.compile("nopad|_0900_")
"""Collations by which a text is not equal to one with spaces behind it: of MariaDB, of MySQL."""
_DIGITS_MAX = 100
"""More than a DECIMAL has, and than Python's decimals have unless they are told."""
_CODECS = {"utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8", "ascii": "ascii", "latin1": "cp1252"}


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One column of a key.

    ``literal`` compares with it; its part of the row_key is ``known``, or else ``sql`` gives it.
    """

    literal: str
    known: str | None = None
    sql: str = ""


def exact(column: Column, value: Value) -> KeyPart | None:
    """The part of a key that this value gives, None when the server might store another one."""
    make = _MAKERS.get(column.kind)
    return None if make is None else make(column, value)


def _number(read: Callable[[Column, Value], str | None]) -> Callable[[Column, Value], KeyPart | None]:
    """A key that is its own literal."""

    def make(column: Column, value: Value) -> KeyPart | None:
        text = read(column, value)
        return None if text is None else KeyPart(text, text)

    return make


def _ascii(value: Value) -> str:
    if isinstance(value, Text) and value.data.isascii():
        return value.data.decode("ascii")
    return ""


def _integer(column: Column, value: Value) -> str | None:
    if column.type == "year" and isinstance(value, Text) and len(value.data) != len("2024"):
        return None  # '0' and '70' are other years than 0 and 70
    if isinstance(value, Text) and _INTEGER.fullmatch(_ascii(value)):
        value = int(_ascii(value))
    if not isinstance(value, int):
        return None
    if column.type == "year":
        return str(value) if value == 0 or 1901 <= value <= 2155 else None  # noqa: PLR2004  the type's range
    bits = _RANGES[column.type]
    low, high = (0, 2**bits) if "unsigned" in column.full_type else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return str(int(value)) if low <= value < high else None


def _decimal(column: Column, value: Value) -> str | None:
    found = re.search(r"\((\d+),(\d+)\)", column.full_type)
    if found is None or isinstance(value, float | bytes):
        return None
    digits, scale = int(found[1]), int(found[2])
    with localcontext() as context:
        context.prec = _DIGITS_MAX
        try:
            number = Decimal(_ascii(value) if isinstance(value, Text) else value or 0)
            fits = abs(number) < 10 ** (digits - scale) and number == round(number, scale)
        except InvalidOperation:
            return None
        return f"{abs(number) if number == 0 else number:.{scale}f}" if fits else None


def _plain(column: Column, value: Value) -> str | None:
    text = _ascii(value)
    match column.type:
        case "date":
            return text if _DATE.fullmatch(text) and _exists(text, "00:00:00") else None
        case "datetime":
            return _datetime(text, column.length or 0)
        case "uuid":
            return text.lower() if _UUID.fullmatch(text.lower()) else None
    return None


def _plain_part(column: Column, value: Value) -> KeyPart | None:
    text = _plain(column, value)
    return None if text is None else KeyPart(literal.sql(Text(text.encode(), "ascii")), text)


def _datetime(text: str, precision: int) -> str | None:
    found = _DATETIME.fullmatch(text)
    if found is None:
        return None
    date, time, fraction = found[1], found[2] or "00:00:00", (found[3] or "").rstrip("0")
    if len(fraction) > precision or not _exists(date, time):
        return None
    return f"{date} {time}" + (f".{fraction.ljust(precision, '0')}" if precision else "")


def _exists(date: str, time: str) -> bool:
    """Whether the calendar has it: another may be stored as the zero date."""
    if (date, time) == ("0000-00-00", "00:00:00"):
        return True
    try:
        dt.datetime.fromisoformat(f"{date}T{time}")
    except ValueError:
        return False
    return True


def _text(column: Column, value: Value) -> KeyPart | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Text(str(value).encode(), "ascii")
    if not isinstance(value, Text) or not _fits(column, value):
        return None
    written = literal.sql(value)
    collation = column.collation or ""
    if column.type == "char" and _NO_PADDING.search(collation) and value.data.rstrip(b"\0").endswith(b" "):
        return None  # it is stored without its trailing spaces, and then is not equal to what was said
    if not re.fullmatch(r"\w{1,64}", collation, re.ASCII) or not re.fullmatch(
        r"\w+", column.charset or "", re.ASCII
    ):
        return None
    stored = f"CONVERT({written} USING {column.charset}) COLLATE {collation}"
    return KeyPart(written, sql=keys.weights(column, stored))


def _fits(column: Column, value: Text) -> bool:
    """Whether the column takes the text without cutting or replacing a character of it."""
    try:
        text = value.data.decode("ascii" if value.data.isascii() else _CODECS.get(value.charset, ""))
        text.encode("ascii" if text.isascii() else _CODECS.get(column.charset or "", ""))
    except (LookupError, UnicodeError):
        return False
    if column.charset in {"utf8", "utf8mb3"} and any(ord(character) > 0xFFFF for character in text):  # noqa: PLR2004
        return False
    return column.length is None or len(text) <= column.length


def _binary(column: Column, value: Value) -> KeyPart | None:
    if isinstance(value, Text) and value.data.isascii():
        value = value.data
    if not isinstance(value, bytes) or (column.length is not None and len(value) > column.length):
        return None
    stored = value.ljust(column.length or 0, b"\0") if column.type == "binary" else value
    return KeyPart(literal.sql(stored), keys.binary_part(stored))


def _index(column: Column, value: Value) -> str | None:
    if column.type == "bit":
        fits = isinstance(value, int) and 0 <= value < 2 ** (column.length or 1)
        return str(value) if fits else None
    if column.type != "enum" or not _ascii(value):
        return None
    members = [member.replace("''", "'") for member in re.findall(r"'((?:[^']|'')*)'", column.full_type)]
    return str(members.index(_ascii(value)) + 1) if _ascii(value) in members else None


_MAKERS: dict[Kind, Callable[[Column, Value], KeyPart | None]] = {
    Kind.INTEGER: _number(_integer),
    Kind.DECIMAL: _number(_decimal),
    Kind.INDEX: _number(_index),
    Kind.PLAIN: _plain_part,
    Kind.TEXT: _text,
    Kind.FOREIGN_TEXT: _text,
    Kind.BINARY: _binary,
}
