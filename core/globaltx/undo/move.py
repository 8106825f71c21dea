"""An UPDATE of the primary key: the row leaves its old key and comes back under a new one.

It is undone as a DELETE of the new row and an INSERT of the old one. The new key must be known:
constants, and integers that stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from globaltx.undo import image, insertion, record
from globaltx.undo.exact import KeyPart
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.shape import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Update
    from globaltx.undo.literal import Value
    from globaltx.undo.record import Ok, UndoRecord
    from globaltx.undo.shape import TableShape
    from globaltx.undo.sqlmode import SqlMode
    from globaltx.undo.values import Image


@dataclass(frozen=True, slots=True)
class MovePlan:
    """``image`` must run right before the statement; ``key`` are the new key's parts, None: as before."""

    image: bytes
    shape: TableShape
    key: tuple[KeyPart | None, ...]
    guards_gaps: bool = False

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the images and the statement's OK into undo records: the old row's, then the new one's.

        Raises:
            RowsMissedError: the statement met other rows: roll back, answer 1213.
            RefusedError: too many rows; roll back.
        """
        if record.matched_rows(ok) != len(rows):
            message = f"{self.shape.label}: the image found {len(rows)} rows, the statement another number"
            raise RowsMissedError(message)
        record.check_count(2 * len(rows))
        found: list[UndoRecord] = []
        for row in rows:
            old, before = record.imaged(self.shape, row, self.shape.stored_columns, vanishing=True)
            found += [old, record.inserted(self.shape, self._new_key(before), ok, proof=True)]
        return tuple(found)

    def _new_key(self, before: Image) -> list[KeyPart]:
        return [
            part if part is not None else KeyPart(str(before[name]), str(before[name]))
            for part, name in zip(self.key, self.shape.primary_key, strict=True)
        ]


def moves(update: Update, shape: TableShape) -> bool:
    """Whether the statement assigns a column of the primary key."""
    return any(shape.column(name).name in shape.primary_key for name in update.assigned)


def make(update: Update, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]) -> MovePlan:
    """Plan an UPDATE of the primary key.

    Raises:
        RefusedError: the new key is not known beforehand.
    """
    assigned = [shape.column(name).name for name in update.assigned]
    key: list[KeyPart | None] = []
    for column in shape.key_columns:
        part = None
        if assigned.count(column.name) == 1:
            span = update.values[assigned.index(column.name)]
            part = insertion.constant(update.source, span, column, mode, parameters)
        if part is None and (column.name in assigned or column.kind is not Kind.INTEGER):
            refuse(
                f"a change of the primary key's column {column.name} to what is not exactly known beforehand",
                "assign constants to the whole key, or DELETE the row and INSERT it anew",
            )
        key.append(part)
    query = image.before_all(update, shape, parameters)
    return MovePlan(mode.encode(query), shape, tuple(key))
