"""The keys of rows that an INSERT makes: exactly as the server will store them, or refused."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from globaltx.undo import computed
from globaltx.undo.computed import Computed
from globaltx.undo.exact import KeyPart, exact
from globaltx.undo.lexer import BLANK, TokenKind, string_value
from globaltx.undo.literal import Text
from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Insert, Source, Span
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import Column, TableShape, UniqueKey
    from globaltx.undo.sqlmode import SqlMode


class Generated:
    """The server generates the value (AUTO_INCREMENT)."""


class _Expression:
    """The value is computed; nobody knows it beforehand."""


GENERATED = Generated()
_COMPUTED = _Expression()


def row_keys(
    insert: Insert, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]
) -> tuple[tuple[KeyPart | Generated, ...], ...]:
    """Find each row's key, in the order of the primary key's columns.

    Raises:
        RefusedError: a key's value is not known before the row is written.
    """
    found = []
    for row in keys(insert, shape, mode, parameters):
        known: list[KeyPart | Generated] = []
        for part in row:
            if isinstance(part, Computed):
                refuse(
                    f"{insert.on_hit} that computes the primary key's column {part.column.name}",
                    "compute it in the application",
                )
            known.append(part)
        found.append(tuple(known))
    return tuple(found)


def keys(
    insert: Insert, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]
) -> tuple[tuple[KeyPart | Generated | Computed, ...], ...]:
    """Find each row's key as far as it is known; what the server can compute beforehand is `Computed`.

    Raises:
        RefusedError: a key's value is not known before the row is written.
    """
    columns = columns_of(insert, shape)
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


def unique_parts(
    insert: Insert, shape: TableShape, key: UniqueKey, mode: SqlMode, parameters: Sequence[Value]
) -> tuple[tuple[KeyPart, ...], ...]:
    """Find what each row has in a unique key; rows with a NULL in it, which meet no other, are left out.

    Raises:
        RefusedError: a value is not known before the row is written.
    """
    columns = columns_of(insert, shape)
    found = []
    for row in insert.rows:
        parts = []
        for column in (shape.column(name) for name in key.columns):
            place = _place(column, columns)
            cell = None if place is None or not row else row[place]
            parts.append(_unique_part(insert, column, cell, mode, parameters))
        known = tuple(part for part in parts if part is not None)
        if len(known) == len(parts):
            found.append(known)
    return tuple(found)


def _unique_part(
    insert: Insert, column: Column, cell: Span | None, mode: SqlMode, parameters: Sequence[Value]
) -> KeyPart | None:
    value = GENERATED if cell is None else cell_value(insert.source, cell, mode, parameters)
    if (value is None and column.nullable) or (value is GENERATED and column.null_default):
        return None
    part = None
    if not (value is None or isinstance(value, _Expression | Generated)):
        part = exact(column, value)
    if part is None or column.generated:
        refuse(
            f"{insert.on_hit} whose value for the unique column {column.name} is not exactly known",
            "give it as it is to be stored",
        )
    return part


def columns_of(insert: Insert, shape: TableShape) -> tuple[str, ...]:
    """The columns that the statement gives values to, in lower case."""
    if insert.columns is not None:
        return tuple(name.casefold() for name in insert.columns)
    return tuple(column.name.casefold() for column in shape.columns if column.visible)


def constant(
    source: Source, span: Span, column: Column, mode: SqlMode, parameters: Sequence[Value]
) -> KeyPart | None:
    """The part of a key that an assigned value gives; None when it is not exactly known."""
    value = cell_value(source, span, mode, parameters)
    if value is None or isinstance(value, _Expression | Generated):
        return None
    return exact(column, value)


def _place(column: Column, columns: tuple[str, ...]) -> int | None:
    name = column.name.casefold()
    return columns.index(name) if name in columns else None


def _check_not_mixed(rows: list[tuple[KeyPart | Generated | Computed, ...]], shape: TableShape) -> None:
    generated = {any(part is GENERATED for part in row) for row in rows}
    if generated == {True, False}:
        refuse(
            f"an INSERT into {shape.label} that gives some rows a key and has others generated",
            "use two statements",
        )


def _key_part(
    column: Column, cell: Span | None, source: Source, mode: SqlMode, parameters: Sequence[Value]
) -> KeyPart | Generated | Computed:
    value = GENERATED if cell is None else cell_value(source, cell, mode, parameters)
    if value is GENERATED and cell is not None and column.auto_increment and not mode.auto_value_on_zero:
        value = 0  # the word DEFAULT is the number 0, which generates none in that mode
    if value is None or value is GENERATED or (_is_zero(value) and mode.auto_value_on_zero):
        if column.auto_increment:
            return GENERATED
        if value is GENERATED:
            refuse(f"an INSERT without a value for the primary key's column {column.name}", "give it a value")
    if isinstance(value, _Expression) and cell is not None and computed.is_closed(source, cell):
        return Computed(column, cell)
    if isinstance(value, _Expression | Generated):
        refuse(
            f"an INSERT that computes the primary key's column {column.name}", "compute it in the application"
        )
    part = None if value is None else exact(column, value)
    if part is None:
        refuse(
            f"an INSERT whose primary key {column.name} gets what is not exactly a {column.full_type}",
            "give the value as it is to be stored",
        )
    return part


def _is_zero(value: Value | Generated | _Expression) -> bool:
    return value == 0 or (isinstance(value, Text) and value.data.strip() == b"0")


def cell_value(
    source: Source, span: Span, mode: SqlMode, parameters: Sequence[Value]
) -> Value | Generated | _Expression:
    """Read a value of the statement: a constant or a parameter; anything else is an expression."""
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
            return parameters[before] if before < len(parameters) else _COMPUTED
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
    # A product of Decimals would be rounded.
    return Decimal(f"{'-' * (sign < 0)}{text}") if "." in text else sign * int(text)


def _bytes(text: str) -> Value | _Expression:
    """``X'..'`` and ``0x..`` are bytes, ``b'..'`` is a number; with an introducer they are left alone."""
    if text.startswith("_"):
        return _COMPUTED
    if text[0] in "bB":
        return int(f"0b{text[2:-1] or 0}", 0)
    if text.startswith("0b"):
        return int(text, 0)
    digits = text[2:-1] if text[0] in "xX" else text[2:]
    return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
