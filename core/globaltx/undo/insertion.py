"""The keys of rows that an INSERT makes, from its values: exactly as the server will store them, or refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from globaltx.undo import keys, literal
from globaltx.undo.lexer import BLANK, TokenKind, string_value
from globaltx.undo.literal import Text
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Insert, Source, Span
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape
    from globaltx.undo.sqlmode import SqlMode


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One column of a key: ``literal`` compares with it; its part of the row_key is ``known`` or is ``sql``."""

    literal: str
    known: str | None = None
    sql: str = ""


class Generated:
    """The server generates the value (AUTO_INCREMENT)."""


class _Expression:
    """The value is computed; nobody knows it beforehand."""


GENERATED = Generated()
_COMPUTED = _Expression()
_RANGES = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d)(?:\.(\d{0,6}))?)?", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CODECS = {"utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8", "ascii": "ascii", "latin1": "cp1252"}


def row_keys(
    insert: Insert, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]
) -> tuple[tuple[KeyPart | Generated, ...], ...]:
    """Find each row's key, in the order of the primary key's columns.

    Raises:
        RefusedError: a key's value is not known before the row is written.
    """
    columns = _columns(insert, shape)
    places = [_place(column, columns) for column in shape.key_columns]
    found = []
    for row in insert.rows:
        if len(row) not in {0, len(columns)}:
            refuse("an INSERT with another number of values than columns", "give each column one value")
        cells = [None if place is None or not row else row[place] for place in places]
        found.append(
            tuple(
                _key_part(column, cell, insert.source, mode, parameters)
                for column, cell in zip(shape.key_columns, cells, strict=True)
            )
        )
    _check_not_mixed(found, shape)
    return tuple(found)


def _columns(insert: Insert, shape: TableShape) -> tuple[str, ...]:
    if insert.columns is not None:
        return tuple(name.casefold() for name in insert.columns)
    return tuple(column.name.casefold() for column in shape.columns if column.visible)


def _place(column: Column, columns: tuple[str, ...]) -> int | None:
    name = column.name.casefold()
    return columns.index(name) if name in columns else None


def _check_not_mixed(rows: list[tuple[KeyPart | Generated, ...]], shape: TableShape) -> None:
    generated = {any(part is GENERATED for part in row) for row in rows}
    if generated == {True, False}:
        refuse(
            f"an INSERT into {shape.label} that gives some rows a key and has others generated",
            "use two statements",
        )


def _key_part(
    column: Column, cell: Span | None, source: Source, mode: SqlMode, parameters: Sequence[Value]
) -> KeyPart | Generated:
    value = GENERATED if cell is None else _cell(source, cell, mode, parameters)
    if value is None or value is GENERATED or (_is_zero(value) and mode.auto_value_on_zero):
        if column.auto_increment:
            return GENERATED
        if value is GENERATED:
            refuse(f"an INSERT without a value for the primary key's column {column.name}", "give it a value")
    if isinstance(value, _Expression | Generated):
        refuse(
            f"an INSERT that computes the primary key's column {column.name}", "compute it in the application"
        )
    part = None if value is None else _exact(column, value)
    if part is None:
        refuse(
            f"an INSERT whose value for the primary key's column {column.name} is not exactly a {column.full_type}",
            "give the value as it is to be stored",
        )
    return part


def _is_zero(value: Value | Generated | _Expression) -> bool:
    return value == 0 or (isinstance(value, Text) and value.data.strip() == b"0")


def _cell(
    source: Source, span: Span, mode: SqlMode, parameters: Sequence[Value]
) -> Value | Generated | _Expression:
    tokens = [token for token in source.tokens[span[0] : span[1]] if token.kind not in BLANK]
    sign = 1
    if len(tokens) > 1 and tokens[0].text in {"-", "+"} and tokens[1].kind is TokenKind.NUMBER:
        sign = -1 if tokens[0].text == "-" else 1
        tokens = tokens[1:]
    if len(tokens) != 1:
        return _COMPUTED
    token = tokens[0]
    match token.kind:
        case TokenKind.PARAMETER:
            before = sum(each.kind is TokenKind.PARAMETER for each in source.tokens[: span[0]])
            return parameters[before]
        case TokenKind.NUMBER:
            return _number(token.text, sign)
        case TokenKind.STRING:
            text, charset = string_value(token, mode)
            return Text(mode.encode(text), charset or mode.charset)
        case TokenKind.BYTES:
            return _bytes(token.text)
    return _word(token.word())


def _word(word: str) -> Value | Generated | _Expression:
    match word:
        case "NULL":
            return None
        case "DEFAULT":
            return GENERATED
        case "TRUE" | "FALSE":
            return int(word == "TRUE")
    return _COMPUTED


def _number(text: str, sign: int) -> Value:
    if "e" in text.lower():
        return sign * float(text)
    return sign * (Decimal(text) if "." in text else int(text))


def _bytes(text: str) -> Value | _Expression:
    """``X'..'`` and ``0x..`` are bytes, ``b'..'`` is a number; with an introducer they are left alone."""
    if text.startswith("_"):
        return _COMPUTED
    if text[0] in "bB":
        return int(text[2:-1] or "0", 2)
    if text.startswith("0b"):
        return int(text[2:], 2)
    digits = text[2:-1] if text[0] in "xX" else text[2:]
    return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))


def _exact(column: Column, value: Value) -> KeyPart | None:
    """The part of a key that this value gives, None when the server might store another one."""
    match column.kind:
        case Kind.INTEGER:
            return _known(_integer(column, value))
        case Kind.DECIMAL:
            return _known(_decimal(column, value))
        case Kind.PLAIN:
            text = _plain(column, value)
            return None if text is None else KeyPart(literal.sql(Text(text.encode(), "ascii")), text)
        case Kind.TEXT | Kind.FOREIGN_TEXT:
            return _text(column, value)
        case Kind.BINARY:
            return _binary(column, value)
        case Kind.INDEX:
            return _known(_index(column, value))
    return None


def _known(text: str | None) -> KeyPart | None:
    return None if text is None else KeyPart(text, text)


def _ascii(value: Value) -> str:
    if isinstance(value, Text) and value.data.isascii():
        return value.data.decode("ascii")
    return ""


def _integer(column: Column, value: Value) -> str | None:
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
    try:
        number = Decimal(_ascii(value) if isinstance(value, Text) else value or 0)
    except InvalidOperation:
        return None
    if not number.is_finite() or number != round(number, scale) or abs(number) >= 10 ** (digits - scale):
        return None
    return f"{abs(number) if number == 0 else number:.{scale}f}"


def _plain(column: Column, value: Value) -> str | None:
    text = _ascii(value)
    match column.type:
        case "date":
            return text if _DATE.fullmatch(text) else None
        case "datetime":
            return _datetime(text, column.length or 0)
        case "uuid":
            return text.lower() if _UUID.fullmatch(text.lower()) else None
    return None


def _datetime(text: str, precision: int) -> str | None:
    found = _DATETIME.fullmatch(text)
    if found is None:
        return None
    date, time, fraction = found[1], found[2] or "00:00:00", (found[3] or "").rstrip("0")
    if len(fraction) > precision:
        return None
    return f"{date} {time}" + (f".{fraction.ljust(precision, '0')}" if precision else "")


def _text(column: Column, value: Value) -> KeyPart | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Text(str(value).encode(), "ascii")
    if not isinstance(value, Text) or not _fits(column, value):
        return None
    written = literal.sql(value)
    collation = column.collation or ""
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
