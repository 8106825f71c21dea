"""Which row is meant: its lock's name, and the condition that finds it.

Two spellings of a primary key that the server takes for the same row must give the same
``row_key``, and two rows never the same one. So text goes by its collation's weights, numbers by
their digits, and all parts are free of the comma that separates them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from globaltx.undo import literal, values
from globaltx.undo.literal import identifier
from globaltx.undo.shape import Column, Kind
from globaltx.undo.table import ROW_KEY_LENGTH_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.shape import TableShape

_PART_BYTES_MAX = 127
"""A longer part of a key goes by its hash."""
_PARTS_THAT_FIT = ROW_KEY_LENGTH_MAX // (2 * _PART_BYTES_MAX + 1)
"""More parts may be too long together: a longer key goes by its hash, too."""


def row_key_expression(shape: TableShape, qualifier: str = "") -> str:
    """Write the SQL of a row's key, as bytes; ``qualifier`` stands before names (```alias`.``)."""
    return as_bytes([_part(column, qualifier) for column in shape.key_columns])


def as_bytes(parts: Sequence[str]) -> str:
    """Join the SQL of a key's parts; ASCII bytes whatever the connection's character set."""
    joined = parts[0] if len(parts) == 1 else f"CONCAT_WS(',',{','.join(parts)})"
    if len(parts) > _PARTS_THAT_FIT:
        plain = f"CONVERT({joined} USING ascii)"
        hashed = f"CONVERT(CONCAT('#',SHA2({plain},256)) USING ascii)"
        joined = f"IF(LENGTH({plain})>{ROW_KEY_LENGTH_MAX},{hashed},{plain})"
    return f"CAST(CONVERT({joined} USING ascii) AS BINARY)"


def _part(column: Column, qualifier: str) -> str:
    name = f"{qualifier}{identifier(column.name)}"
    match column.kind:
        case Kind.TEXT | Kind.FOREIGN_TEXT:
            return weights(column, name)
        case Kind.BINARY:
            return _hex_or_hash(name)
        case Kind.TIMESTAMP:
            return f"CAST(UNIX_TIMESTAMP({name}) AS CHAR)"
        case Kind.INTEGER | Kind.INDEX:
            return f"CAST({name}+0 AS CHAR)"
        case _:
            return f"CAST({name} AS CHAR)"


def weights(column: Column, text: str) -> str:
    """Write the SQL of a text's part: what the column's collation compares."""
    trimmed = f"TRIM(TRAILING ' ' FROM {text})" if column.pads_spaces else text
    return _hex_or_hash(f"WEIGHT_STRING({trimmed})")


def _hex_or_hash(data: str) -> str:
    return f"IF(LENGTH({data})>{_PART_BYTES_MAX},CONCAT('#',SHA2({data},256)),HEX({data}))"


def binary_part(data: bytes) -> str:
    """The part that `_hex_or_hash` gives for known bytes."""
    return _hash(data) if len(data) > _PART_BYTES_MAX else data.hex().upper()


def _hash(data: bytes) -> str:
    return f"#{hashlib.sha256(data).hexdigest()}"


def condition(shape: TableShape, literals: Sequence[str]) -> str:
    """Write the WHERE that finds the row of a primary key."""
    return equals(shape.primary_key, literals)


def equals(columns: Sequence[str], literals: Sequence[str]) -> str:
    """Write the condition that each column has its value."""
    return " AND ".join(
        f"{identifier(column)}={value}" for column, value in zip(columns, literals, strict=True)
    )


def any_of(shape: TableShape, rows: Sequence[Sequence[str]], qualifier: str = "") -> str:
    """Write the condition that it is one of these rows, each given by the literals of its primary key."""
    if not rows:
        return "1=0"
    if len(shape.primary_key) == 1:
        return f"{qualifier}{identifier(shape.primary_key[0])} IN ({','.join(row[0] for row in rows)})"
    columns = ",".join(f"{qualifier}{identifier(column)}" for column in shape.primary_key)
    listed = ",".join(f"({','.join(row)})" for row in rows)
    return f"({columns}) IN ({listed})"


def key_literals(shape: TableShape, image: values.Image) -> tuple[str, ...]:
    """Take the primary key out of an image, as literals.

    Raises:
        UnreadableImageError: it is not in there.
    """
    try:
        return tuple(values.sql(column, image[column.name]) for column in shape.key_columns)
    except KeyError as error:
        message = f"the image lacks the primary key's column {error}"
        raise values.UnreadableImageError(message) from error


def integer_key_literals(shape: TableShape, row_key: bytes) -> tuple[str, ...] | None:
    """Read the literals off a key that is made of integers only; None for other keys."""
    if any(column.kind is not Kind.INTEGER for column in shape.key_columns):
        return None
    parts = row_key.decode("ascii").split(",")
    return tuple(str(int(part)) for part in parts) if len(parts) == len(shape.primary_key) else None


def literal_key(row_key: bytes) -> str:
    """Write a known key; binary, so that no character set touches it."""
    if len(row_key) > ROW_KEY_LENGTH_MAX:
        row_key = _hash(row_key).encode()
    return literal.sql(row_key)
