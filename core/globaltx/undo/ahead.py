"""Undo records that can be written down before their change runs, so that all of it fits into one packet.

The row must be named by its primary key, as a number: then it is one row or none, and nobody has to see
its image first. The server keeps that in a variable, and the INSERT of the undo records takes it from
there, or fails: where there was no row, or an image that is no JSON. Keys that AUTO_INCREMENT generates
are LAST_INSERT_ID() by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import insertion, record
from globaltx.undo.computed import Computed
from globaltx.undo.forms import Answers, Delete
from globaltx.undo.literal import Text
from globaltx.undo.plan import ImagePlan, InsertPlan
from globaltx.undo.shape import Kind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.undo.choice import Choice
    from globaltx.undo.exact import KeyPart
    from globaltx.undo.plan import Plan
    from globaltx.undo.record import UndoRecord
    from globaltx.undo.shape import Column

_DIGITS_MAX = 15
"""Servers compare a number with a text as DOUBLE, which tells no longer ones apart."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The undo records of a change; ``image`` is the SELECT that notes the row's image, right before it."""

    records: tuple[UndoRecord, ...]
    image: bytes | None = None


def ahead(planned: Plan) -> Ahead | None:
    """Give the undo records of a change that has not run; None where they follow from what it does."""
    if isinstance(planned, InsertPlan):
        return _new_rows(planned)
    if isinstance(planned, ImagePlan) and planned.answers is Answers.ROW:
        return _one_row(planned)
    return None


def _new_rows(planned: InsertPlan) -> Ahead | None:
    rows = []
    for row in planned.rows:
        if any(isinstance(part, Computed) for part in row):
            return None
        rows.append([part for part in row if not isinstance(part, Computed)])
    shape = planned.shape
    return Ahead(tuple(record.inserted_ahead(shape, row, index) for index, row in enumerate(rows)))


def _one_row(planned: ImagePlan) -> Ahead | None:
    choice = planned.choice
    key = [_pinned(choice, column) for column in choice.shape.key_columns]
    known = [part for part in key if part is not None]
    if len(known) < len(key):
        return None
    after = () if isinstance(choice.change, Delete) else planned.columns
    changed = record.changed_ahead(choice.shape, known, after)
    return Ahead((changed,), choice.image(planned.columns, noted=True))


def _pinned(choice: Choice, column: Column) -> KeyPart | None:
    """What the condition says that a column of the key is equal to, if that is one number for certain."""
    condition, source = choice.change.condition, choice.change.source
    span = dict(condition.pinned).get(column.name.lower())
    if span is None or column.kind is not Kind.INTEGER or column.type == "year":
        return None
    value = insertion.cell_value(source, span, choice.mode, choice.parameters)
    if isinstance(value, Text) and len(value.data) > _DIGITS_MAX:
        return None
    return insertion.constant(source, span, column, choice.mode, choice.parameters)
