"""From an undo record back to the row: restored only if what the transaction left still stands.

A record knows the row before (None: it was not there) and after (None: it is not there now).
What to do follows from both and from the row as it is now, read under its lock:

=========  =========  ==========================================
before     after      undo, if the row now is as it was after
=========  =========  ==========================================
None       an image   DELETE it
an image   None       INSERT it
an image   an image   UPDATE it
None       None       nothing
=========  =========  ==========================================

A row that already is as it was before needs nothing (a repeat, or a person has restored it).
Anything else is a change behind the transaction's back: the row is left alone, and a person is
shown all three.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.undo import keys, literal, values
from globaltx.undo.literal import identifier
from globaltx.undo.values import Image, UnreadableImageError, same
from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from globaltx.undo.shape import Column, Reference, TableShape

_NAMED_MAX = 5
SESSION = (
    "SET NAMES utf8mb4",
    "SET SESSION time_zone='+00:00'",
    "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)
"""What a session needs before it undoes anything.

The mode lets through what other modes have let in (zero dates, ENUM's error value); nothing is lost
by that, because a restored row is read back and compared.
"""


class Verdict(StrEnum):
    """What is to be done about a row."""

    DONE = "done"
    RESTORE = "restore"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Record:
    """An undo record as the undo table holds it; ``row`` is what people call it by."""

    table_name: bytes
    row_key: bytes
    before: Image | None
    after: Image | None
    row: str = ""

    @classmethod
    def read(
        cls, table_name: bytes, row_key: bytes, before: str | None, after: str | None, row: str = ""
    ) -> Record:
        """Read a row of the undo table.

        Raises:
            UnreadableImageError: an image is none.
        """
        return cls(
            table_name,
            row_key,
            None if before is None else values.read_image(before),
            None if after is None else values.read_image(after),
            row,
        )


def select_current(shape: TableShape, record: Record) -> str | None:
    """Write the locking SELECT of the row's image as it is now; None when there is nothing to compare.

    Raises:
        UnreadableImageError: the record does not tell the row's key.
        NoSuchColumnError: the table has lost a column.
    """
    if record.before is None and record.after is None:
        return None
    columns = _columns(shape, {**(record.before or {}), **(record.after or {})})
    row = f"FROM {_table(shape)} WHERE {_condition(shape, record)}"
    return f"SELECT {values.image_bytes(columns)} {row} FOR UPDATE"


def judge(record: Record, current: Image | None) -> Verdict:
    """Compare the row as it is now (None: it is not there) with what the record tells."""
    if _stands(record.before, current):
        return Verdict.DONE
    return Verdict.RESTORE if _stands(record.after, current) else Verdict.CONFLICT


def _stands(image: Image | None, current: Image | None) -> bool:
    """Only the columns that the image holds are compared: others were not the transaction's."""
    if image is None or current is None:
        return image is current
    return image.keys() <= current.keys() and same(image, {name: current[name] for name in image})


def restore(shape: TableShape, record: Record) -> str:
    """Write the statement that makes the row what it was before.

    Raises:
        UnreadableImageError, NoSuchColumnError: the record does not fit the table.
    """
    if record.before is None:
        return f"DELETE FROM {_table(shape)} WHERE {_condition(shape, record)}"
    columns = _columns(shape, record.before)
    literals = [values.sql(column, record.before[column.name]) for column in columns]
    if record.after is None:
        names = ",".join(identifier(column.name) for column in columns)
        return f"INSERT INTO {_table(shape)} ({names}) VALUES ({','.join(literals)})"
    assignments = ",".join(
        f"{identifier(column.name)}={value}"
        for column, value in zip(columns, literals, strict=True)
        if column.name not in shape.primary_key or _differs(record, column.name)
    )
    return f"UPDATE {_table(shape)} SET {assignments} WHERE {_condition(shape, record)}"


def differs(shape: TableShape, record: Record, before: str | None) -> str:
    """Write the condition that a row is not what it was before, whose image is written as ``before``.

    The server that wrote it writes it again the same; numbers that are only equal count as different.
    """
    found = f"FROM {_table(shape)} WHERE {_condition(shape, record)}"
    if record.before is None or before is None:
        return f"EXISTS (SELECT 1 {found})"
    image = values.image_bytes(_columns(shape, record.before))
    return f"NOT ((SELECT {image} {found})<=>{literal.sql(before.encode())})"


def _differs(record: Record, name: str) -> bool:
    """Whether a column was changed: of a key, only to another spelling that the server takes for the same."""
    before, after = record.before or {}, record.after or {}
    return name in after and not same({name: before[name]}, {name: after[name]})


def select_whole(shape: TableShape, record: Record) -> str | None:
    """Write the locking SELECT of a changed row with all columns; None for one that came or went."""
    if record.before is None or record.after is None:
        return None
    row = f"FROM {_table(shape)} WHERE {_condition(shape, record)}"
    return f"SELECT {values.image_bytes(shape.stored_columns)} {row} FOR UPDATE"


def take_out(shape: TableShape, record: Record) -> str:
    """Write the DELETE of a changed row, to be put back by `put_back`."""
    return restore(shape, replace(record, before=None))


def put_back(record: Record, whole: Image) -> Record:
    """Make the record that inserts a row that was taken out, as it was before."""
    return replace(record, before={**whole, **(record.before or {})}, after=None)


def select_children(shape: TableShape, record: Record) -> list[tuple[str, str]]:
    """For a row that is to be deleted: each table that would follow by cascade, and a SELECT of its rows."""
    if record.before is not None or record.after is None:
        return []
    return [
        (f"{each.schema}.{each.table}", _select_child(shape, each, record.after))
        for each in shape.references
        if each.deletes
    ]


def _select_child(shape: TableShape, reference: Reference, after: Image) -> str:
    parents = [shape.column(name) for name in reference.referenced]
    condition = " AND ".join(
        f"{identifier(column)}={values.sql(parent, after[parent.name])}"
        for column, parent in zip(reference.columns, parents, strict=True)
    )
    table = f"{identifier(reference.schema)}.{identifier(reference.table)}"
    return f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1 FOR UPDATE"


def overwrite(shape: TableShape, record: Record, current: Image | None) -> Record:
    """Make the record of a change from what stands there now: `restore` then puts back what was before.

    Raises:
        UnreadableImageError: the row is gone, and the record knows only some of its columns.
    """
    if current is None and record.before is not None:
        lacking = [
            each.name for each in shape.columns if not each.generated and each.name not in record.before
        ]
        if lacking:
            message = (
                "it is gone, and only what the transaction changed of it was recorded "
                f"({', '.join(lacking[:_NAMED_MAX])} was not): insert it by hand and retry, or keep"
            )
            raise UnreadableImageError(message)
    return replace(record, after=current)


def _columns(shape: TableShape, image: Image) -> tuple[Column, ...]:
    return tuple(shape.column(name) for name in image)


def _condition(shape: TableShape, record: Record) -> str:
    return keys.condition(shape, keys.key_literals(shape, record.after or record.before or {}))


def _table(shape: TableShape) -> str:
    return f"{identifier(shape.schema)}.{identifier(shape.name)}"
