"""A column's value: how the server writes it into an image, and how it is written as SQL again.

An image is JSON that the server makes, so that no client library stands between a value and its
undo. Each kind of column has one expression that loses nothing, tried by round trips of edge
values: what has no exact JSON form goes as text, bytes go in hexadecimal. (CAST, not CONVERT, for
text: MariaDB takes a JSON column for JSON through CONVERT, and would lose its spelling.)
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from globaltx.undo import literal
from globaltx.undo.literal import Text, identifier
from globaltx.undo.shape import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from globaltx.undo.shape import TableShape


class Number(str):
    """A JSON number by its own digits: no binary floating point stands between."""

    __slots__ = ()


JsonValue: TypeAlias = "str | Number | None"
Image: TypeAlias = "dict[str, JsonValue]"
"""The columns of a row as the server wrote them."""

NOTED = ("@globaltx_row", "@globaltx_image")
"""Variables of the session for a row's key and its image, which goes from there into an undo record."""
_EXPRESSIONS = {
    Kind.INTEGER: "{}+0",
    Kind.INDEX: "{}+0",
    Kind.DOUBLE: "{}*1e0",
    Kind.DECIMAL: "CAST({} AS CHAR)",
    Kind.PLAIN: "CAST({} AS CHAR)",
    Kind.TIMESTAMP: "UNIX_TIMESTAMP({})",
    Kind.TEXT: "CAST({} AS CHAR CHARACTER SET utf8mb4)",
    Kind.JSON: "CAST({} AS CHAR CHARACTER SET utf8mb4)",
    Kind.FOREIGN_TEXT: "HEX({})",
    Kind.BINARY: "HEX({})",
}
_LARGE_TYPES = frozenset(
    {
        "mediumtext",
        "longtext",
        "mediumblob",
        "longblob",
        "json",
        "vector",
        "geometry",
        "linestring",
        "polygon",
    }
    | {"multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection"}
)
"""Whose values may be larger than a server lets a function answer: it then answers NULL, with a warning."""
IMAGE_BYTES_MAX = 12 * 1024 * 1024
_ROOM_BYTES = 64 * 1024
"""For the columns that cannot be large, and for what stands around an image."""
TOO_LARGE = '"too large"'
"""Stands for an image that would be: JSON, but no object."""
_PLAIN_TEXT_BYTES = 64 * 1024
"""Text from so many bytes on is written as it is where it can be: in hexadecimal it takes twice as much."""
_SIMPLE_NAME = re.compile(r"[A-Za-z0-9_]+")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_PLAIN = re.compile(r"[-0-9A-Za-z:. ]*", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-F]{2})*")


class UnreadableImageError(ValueError):
    """An image does not hold what the server writes there."""


def expression(column: Column, qualifier: str = "") -> str:
    """Write the SQL of a column's value in an image; ``qualifier`` stands before its name (```alias`.``).

    Blanks at the end of a CHAR are never stored, but shown under PAD_CHAR_TO_FULL_LENGTH.
    """
    name = f"{qualifier}{identifier(column.name)}"
    if column.type == "char":
        name = f"TRIM(TRAILING ' ' FROM {name})"
    if column.kind is Kind.INTEGER and column.type != "year" and "zerofill" not in column.full_type:
        return name
    return _EXPRESSIONS[column.kind].format(name)


def image_expression(columns: Iterable[Column], qualifier: str = "") -> str:
    """Write the SQL of a row's image: ``{"column": [value], ...}``, or `TOO_LARGE`."""
    chosen = tuple(columns)
    members = ",".join(f"{_name(each.name)},JSON_ARRAY({expression(each, qualifier)})" for each in chosen)
    image = f"JSON_OBJECT({members})"
    sizes = [_size(each, qualifier) for each in chosen if each.type in _LARGE_TYPES]
    if not sizes:
        return image
    fits = f"{'+'.join(sizes)}+{_ROOM_BYTES}<=LEAST({IMAGE_BYTES_MAX},@@max_allowed_packet)"
    return f"IF({fits},{image},'{TOO_LARGE}')"


def may_be_too_large(columns: Iterable[Column]) -> bool:
    """Whether an image of these columns may be `TOO_LARGE`."""
    return any(each.type in _LARGE_TYPES for each in columns)


def _size(column: Column, qualifier: str) -> str:
    """Write the SQL of a value's bytes in an image; NULL where they are too many for the server."""
    name, value = f"{qualifier}{identifier(column.name)}", expression(column, qualifier)
    quoted = f"JSON_QUOTE({value})" if column.kind in {Kind.TEXT, Kind.JSON} else value
    return f"IF({name} IS NULL,0,LENGTH({quoted}))"


def image_of(shape: TableShape, columns: Sequence[Column]) -> str:
    """Write the SQL of the image of these columns of a table, or remember it."""
    names = tuple([column.name for column in columns])
    return shape.once(("image", names), lambda: image_expression(columns))


def image_bytes(columns: Iterable[Column], qualifier: str = "") -> str:
    """The same as UTF-8 bytes, which no ``character_set_results`` changes on the way."""
    return as_bytes(image_expression(columns, qualifier))


def as_bytes(image: str) -> str:
    """Write the SQL of an image's UTF-8 bytes."""
    return f"CAST(CONVERT({image} USING utf8mb4) AS BINARY)"


def _name(name: str) -> str:
    return f"'{name}'" if _SIMPLE_NAME.fullmatch(name) else literal.sql(Text(name.encode()))


def read_image(data: bytes | str) -> Image:
    """Read an image.

    Raises:
        UnreadableImageError: it is none.
    """
    try:
        raw = _READER.decode(data if isinstance(data, str) else data.decode("utf-8", "surrogatepass"))
    except ValueError as error:
        message = f"an undo record's image cannot be read: {error}"
        raise UnreadableImageError(message) from error
    if not isinstance(raw, dict):
        message = "an undo record's image is no JSON object"
        raise UnreadableImageError(message)
    return {name: _only(value) for name, value in raw.items()}


def _no_constant(name: str) -> None:
    message = f"{name} is no value"
    raise ValueError(message)


_READER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_no_constant)


def _only(value: object) -> JsonValue:
    if isinstance(value, list) and len(value) == 1:
        (only,) = value
        if only is None or isinstance(only, str):
            return only
    message = "an undo record's image holds something else than a value in an array"
    raise UnreadableImageError(message)


def same(one: Mapping[str, JsonValue], other: Mapping[str, JsonValue]) -> bool:
    """Whether two images of the same columns are equal: text by its characters, numbers by their value."""
    return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())


def _equal(one: JsonValue, other: JsonValue) -> bool:
    if one is None or other is None or not (isinstance(one, Number) or isinstance(other, Number)):
        return one == other
    # MariaDB writes numbers as texts where collation_connection is one of sjis and its kind.
    numbers = _NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)
    return one == other or (numbers is not None and Decimal(one) == Decimal(other))


def sql(column: Column, value: JsonValue) -> str:
    """Write an image's value as a literal that stores the same value again, in ASCII.

    TIMESTAMP is exact in a session whose time zone is UTC.

    Raises:
        UnreadableImageError: the image holds something else than such a column's value.
    """
    if value is None:
        return "NULL"
    if column.kind is Kind.UNKNOWN:
        message = f"column {column.name} has the type {column.type}, which cannot be written"
        raise UnreadableImageError(message)
    return _WRITERS[column.kind](column, value)


def _number(column: Column, value: str) -> str:
    return _matching(_NUMBER, value, column)


def _double(column: Column, value: str) -> str:
    """With an exponent, or the server takes it for a DECIMAL."""
    digits = _number(column, value)
    return digits if "e" in digits.lower() else f"{digits}e0"


def _plain(column: Column, value: str) -> str:
    return literal.sql(Text(_matching(_PLAIN, value, column).encode(), "ascii"))


def _text(_column: Column, value: str) -> str:
    data = value.encode()
    if len(data) < _PLAIN_TEXT_BYTES:
        return literal.sql(Text(data))
    return literal.plain(data, "_utf8mb4 ") or literal.sql(Text(data))


def _json(column: Column, value: str) -> str:
    return f"CAST({_text(column, value)} AS JSON)"


def _binary(column: Column, value: str) -> str:
    return f"X'{_matching(_HEX, value, column)}'"


def _foreign_text(column: Column, value: str) -> str:
    return literal.sql(Text(bytes.fromhex(_matching(_HEX, value, column)), column.charset or "binary"))


def _timestamp(column: Column, value: str) -> str:
    """The zero date has the number 0, which FROM_UNIXTIME takes for 1970."""
    seconds = _number(column, value)
    return "'0000-00-00 00:00:00'" if float(seconds) == 0 else f"FROM_UNIXTIME({seconds})"


def _matching(pattern: re.Pattern[str], value: str, column: Column) -> str:
    if not pattern.fullmatch(value):
        message = f"the image's value of column {column.name} is no {column.type}"
        raise UnreadableImageError(message)
    return str(value)


_WRITERS: dict[Kind, Callable[[Column, str], str]] = {
    Kind.INTEGER: _number,
    Kind.INDEX: _number,
    Kind.DOUBLE: _double,
    Kind.DECIMAL: _number,
    Kind.PLAIN: _plain,
    Kind.TIMESTAMP: _timestamp,
    Kind.TEXT: _text,
    Kind.JSON: _json,
    Kind.FOREIGN_TEXT: _foreign_text,
    Kind.BINARY: _binary,
}
