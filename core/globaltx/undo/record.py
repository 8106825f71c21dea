"""What is kept of one row that a statement changed, until the local commit writes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from globaltx.undo import insertion, keys, literal, values
from globaltx.undo.exact import KeyPart
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.shape import Kind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.shape import Column, TableShape

_TOO_LARGE = values.TOO_LARGE.encode()
_FIRST_NUMBER = re.compile(rb"\d+")
ROWS_MAX = 10_000
"""Rows that one statement may change: their images must fit into one packet of the local commit."""


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """One row that a statement changed, on its way into the undo table (opaque to the session).

    ``row_key`` and ``key`` are SQL; ``after`` are the columns of the after image, none for a
    row that was deleted; ``before`` is the before image, None for a row that was inserted.
    ``certain``: the key is known to find the row, it needs no proof at the commit.
    ``vanishing``: there may be no such row behind the statement. ``noted``: the before image is not here
    but in a variable, `values.NOTED`.
    """

    shape: TableShape
    row_key: str
    key: tuple[str, ...]
    before: bytes | None
    after: tuple[Column, ...]
    certain: bool = True
    vanishing: bool = False
    noted: bool = False


@dataclass(frozen=True, slots=True)
class Ok:
    """The numbers of the statement's own OK packet, as the server sent them.

    ``info`` is its text (``Rows matched: 1  Changed: 1  Warnings: 0``, in any language).
    """

    affected_rows: int
    insert_id: int = 0
    info: bytes = b""


def imaged(
    shape: TableShape,
    row: Sequence[bytes | None],
    after: tuple[Column, ...],
    *,
    vanishing: bool = False,
) -> tuple[UndoRecord, values.Image]:
    """Make the record of a row whose row_key and image came back.

    Raises:
        RowsMissedError: they came back empty.
        RefusedError: the session has spoilt the image.
    """
    row_key, before, image = _read(shape, row)
    key = keys.integer_key_literals(shape, row_key) or keys.key_literals(shape, image)
    record = UndoRecord(shape, keys.literal_key(row_key), key, before, after, vanishing=vanishing)
    return record, image


def _read(shape: TableShape, row: Sequence[bytes | None]) -> tuple[bytes, bytes, values.Image]:
    row_key, before = row[0], row[1]
    if row_key is None or before is None:
        message = f"the image of a row of {shape.label} came back empty"
        raise RowsMissedError(message)
    if before == _TOO_LARGE:
        refuse_too_large(f"a change of a row of {shape.label}")
    try:
        return row_key, before, values.read_image(before)
    except values.UnreadableImageError as error:
        refuse(f"a change in this session ({error})", "use an 8-bit or utf8mb4 collation_connection")


def refuse_too_large(what: str) -> NoReturn:
    """Refuse a row whose undo record would be too large; the local transaction must be rolled back.

    Raises:
        RefusedError: always.
    """
    refuse(
        f"{what} with values of more than {values.IMAGE_BYTES_MAX >> 20} MiB, or near max_allowed_packet,",
        "keep such values elsewhere",
    )


def inserted(
    shape: TableShape, parts: Sequence[KeyPart | insertion.Generated], ok: Ok, index: int = 0, *, proof: bool
) -> UndoRecord:
    """Make the record of a row that was not there before.

    ``proof``: the local commit must find it by this key; without, it may have become another row.
    """
    certain = not proof or all(column.kind is Kind.INTEGER for column in shape.key_columns)
    return _inserted(shape, parts, str(ok.insert_id), index, certain=certain)


def inserted_ahead(
    shape: TableShape, parts: Sequence[KeyPart | insertion.Generated], index: int
) -> UndoRecord:
    """Make the record of a row that will be there; the local commit must find it by its key."""
    return _inserted(shape, parts, "LAST_INSERT_ID()", index, certain=False)


def changed_ahead(shape: TableShape, key: Sequence[KeyPart], after: tuple[Column, ...]) -> UndoRecord:
    """Make the record of a row whose image will be noted."""
    literals = tuple(part.literal for part in key)
    return UndoRecord(shape, _row_key(key), literals, None, after, noted=True)


def _inserted(
    shape: TableShape,
    parts: Sequence[KeyPart | insertion.Generated],
    first: str,
    index: int,
    *,
    certain: bool,
) -> UndoRecord:
    known = [_generated(first, index) if isinstance(part, insertion.Generated) else part for part in parts]
    return UndoRecord(
        shape=shape,
        row_key=_row_key(known),
        key=tuple(part.literal for part in known),
        before=None,
        after=shape.stored_columns,
        certain=certain,
    )


def found_new(shape: TableShape, row: Sequence[bytes | None]) -> UndoRecord:
    """Make the record of a row that was not there before, from its row_key and the image of its key.

    Raises:
        RowsMissedError: they came back empty.
        RefusedError: the session has spoilt the image.
    """
    row_key, _, image = _read(shape, row)
    key = keys.integer_key_literals(shape, row_key) or keys.key_literals(shape, image)
    return UndoRecord(shape, keys.literal_key(row_key), key, None, shape.stored_columns)


def matched_rows(ok: Ok) -> int:
    """How many rows an UPDATE has met, changed or not."""
    matched = _FIRST_NUMBER.search(ok.info)
    return ok.affected_rows if matched is None else int(matched[0])


def check_met(met: int, found: int, label: str) -> None:
    """See that a statement met as many rows as its image has locked, so the same ones, and not too many.

    Raises:
        RowsMissedError: it met others.
        RefusedError: they are more than a local commit can carry.
    """
    if met != found:
        message = f"{label}: the image found {found} rows, the statement {met}"
        raise RowsMissedError(message)
    check_count(found)


def known_key(parts: Sequence[KeyPart | insertion.Generated]) -> bytes | None:
    """Give the row_key if it is known without the server."""
    known = [part.known for part in parts if isinstance(part, KeyPart) and part.known is not None]
    return ",".join(known).encode("ascii") if len(known) == len(parts) else None


def check_count(rows: int) -> None:
    """Refuse more rows than a local commit can carry.

    Raises:
        RefusedError: there are.
    """
    if rows > ROWS_MAX:
        refuse(f"a change of {rows} rows at once", f"change at most {ROWS_MAX} rows a statement")


def _generated(first: str, index: int) -> KeyPart:
    """The key of the n-th row of an INSERT: the server counts in steps that the session knows."""
    if index == 0:
        return KeyPart(first, first) if first.isdigit() else KeyPart(first, sql=f"CAST({first} AS CHAR)")
    key = f"{first}+{index}*@@auto_increment_increment"
    return KeyPart(f"({key})", sql=f"CAST({key} AS CHAR)")


def _row_key(parts: Sequence[KeyPart]) -> str:
    known = known_key(parts)
    if known is not None:
        return keys.literal_key(known)
    return keys.as_bytes([part.sql if part.known is None else _as_text(part.known) for part in parts])


def _as_text(known: str) -> str:
    """In the connection's character set, as the other parts are: the server joins no two of them."""
    return f"CAST({literal.sql(literal.Text(known.encode(), 'ascii'))} AS CHAR)"
