"""An UPDATE of the primary key: the row leaves its old key and comes back under a new one.

It is undone as a DELETE of the new row and an INSERT of the old one; where a row has moved to the
key that another one has left, as an UPDATE. The new key must be known: constants, integers that stay
as they are, and integers that the image can compute (``id = id + 1``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import condition, image, insertion, keys, record
from globaltx.undo.choice import Choice
from globaltx.undo.exact import KeyPart, exact
from globaltx.undo.literal import Text
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Kind
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from globaltx.undo.forms import Answers, Span, Update
    from globaltx.undo.literal import Value
    from globaltx.undo.record import Ok, UndoRecord
    from globaltx.undo.shape import Column, TableShape
    from globaltx.undo.sqlmode import SqlMode
    from globaltx.undo.values import Image


class _Computed:
    """The image gives the new value, behind key and image."""


_COMPUTED = _Computed()


@dataclass(frozen=True, slots=True)
class MovePlan:
    """``image`` must run right before the statement; ``key`` are the new key's parts, None: as before."""

    image: bytes
    choice: Choice
    key: tuple[KeyPart | _Computed | None, ...]
    guards_gaps: bool = False

    @property
    def answers(self) -> Answers:
        """How long the image's choice of rows holds."""
        return self.choice.answers

    def narrowed(self, rows: Sequence[Sequence[bytes | None]]) -> bytes:
        """Write the statement for the rows of the image alone; see `Choice.narrowed`."""
        return self.choice.narrowed(rows)

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the images and the statement's OK into undo records: of the old rows, then of the new ones.

        In this order the image of a row that stood at a key wins over "nothing was there".

        Raises:
            RowsMissedError: the statement met other rows: roll back, answer 1213.
            RefusedError: too many rows, or a key that is none; roll back.
        """
        shape = self.choice.shape
        record.check_met(record.matched_rows(ok), len(rows), shape.label)
        record.check_count(2 * len(rows))
        old, new = [], []
        for row in rows:
            gone, before = record.imaged(shape, row, shape.stored_columns, vanishing=True)
            old.append(gone)
            new.append(record.inserted(shape, list(self._new_key(before, row[2:])), ok, proof=True))
        return (*old, *new)

    def _new_key(self, before: Image, computed: Sequence[bytes | None]) -> Iterator[KeyPart]:
        left = iter(computed)
        for part, column in zip(self.key, self.choice.shape.key_columns, strict=True):
            match part:
                case KeyPart():
                    yield part
                case None:
                    yield KeyPart(str(before[column.name]), str(before[column.name]))
                case _:
                    yield _integer(column, next(left))


def _integer(column: Column, value: bytes | None) -> KeyPart:
    part = None if value is None else exact(column, Text(value, "ascii"))
    if part is None:
        refuse(f"a change of the primary key to what is no {column.full_type}", "compute a key that is one")
    return part


def moves(update: Update, shape: TableShape) -> bool:
    """Whether the statement assigns a column of the primary key."""
    return any(shape.column(name).name in shape.primary_key for name in update.assigned)


def make(update: Update, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]) -> MovePlan:
    """Plan an UPDATE of the primary key.

    Raises:
        RefusedError: the new key is not known beforehand.
    """
    image.check_types(shape.stored_columns, shape)
    choice = Choice(update, shape, mode, tuple(parameters))
    assigned = [shape.column(name).name for name in update.assigned]
    key: list[KeyPart | _Computed | None] = []
    computed: list[str] = []
    for column in shape.key_columns:
        part = None
        if column.name in assigned:
            part = _assigned(choice, update, column, assigned)
            if part is _COMPUTED:
                span = update.values[assigned.index(column.name)]
                computed.append(keys.as_bytes([f"({update.source.render(span, parameters)})"]))
        if part is None and (column.name in assigned or column.kind is not Kind.INTEGER):
            refuse(
                f"a change of the primary key's column {column.name} to what is not exactly known beforehand",
                "assign constants to the whole key, or DELETE the row and INSERT it anew",
            )
        key.append(part)
    return MovePlan(choice.image(shape.stored_columns, computed), choice, tuple(key))


def _assigned(
    choice: Choice, update: Update, column: Column, assigned: list[str]
) -> KeyPart | _Computed | None:
    if assigned.count(column.name) != 1:
        return None
    index = assigned.index(column.name)
    span = update.values[index]
    part = insertion.constant(update.source, span, column, choice.mode, choice.parameters)
    if part is None and column.kind is Kind.INTEGER and _repeats(update, span, assigned[:index]):
        return _COMPUTED
    return part


def _repeats(update: Update, span: Span, changed_before: list[str]) -> bool:
    """Whether the image gives the expression the value that the statement will give it.

    A column that is assigned before it has its new value by then.
    """
    changed = {name.casefold() for name in changed_before}
    names = {condition.called(token).casefold() for token in update.source.tokens[span[0] : span[1]]}
    return condition.repeats(update.source, span) and not names & changed
