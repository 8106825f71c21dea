"""What must be asked before an UPDATE or DELETE of several tables, and what must be kept after it.

Each table that is changed has its own SELECT over the same join, all in one query. They lock the rows
of every table that they join, so that no row leaves the choice; that the statement has met as many
rows as all images together proves that it met the same ones. Where rows might come and go behind what
is locked (an outer join, a subquery) the gaps must be locked too, or the statement gets the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import cascades, image, keys, record, values
from globaltx.undo.condition import SHARED
from globaltx.undo.forms import Answers
from globaltx.undo.literal import identifier
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Column, NoSuchColumnError, TableShape, check_undoable
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from globaltx.undo.forms import Joined, Reference
    from globaltx.undo.literal import Value
    from globaltx.undo.record import Ok, UndoRecord
    from globaltx.undo.sqlmode import SqlMode

    Row = Sequence[bytes | None]


@dataclass(frozen=True, slots=True)
class Target:
    """A table that is changed, and the columns of its images."""

    label: str
    shape: TableShape
    columns: tuple[Column, ...]

    @property
    def qualifier(self) -> str:
        """What stands before a name of one of its columns."""
        return f"{identifier(self.label)}."

    @property
    def is_there(self) -> str:
        """The condition that the row is none of NULLs which an outer join has put in its place."""
        return f"{self.qualifier}{identifier(self.shape.primary_key[0])} IS NOT NULL"


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """``image`` must run right before the statement; its rows are the target's number, row_key and image."""

    image: bytes
    change: Joined
    targets: tuple[Target, ...]
    mode: SqlMode
    parameters: tuple[Value, ...]
    guards_gaps: bool = False

    @property
    def answers(self) -> Answers:
        """How long the choice of rows holds."""
        answers = self.change.condition.answers
        return Answers.TABLES if self.change.outer and answers is Answers.ROW else answers

    def narrowed(self, rows: Sequence[Row]) -> bytes:
        """Write the statement for the rows of the images alone.

        Raises:
            RowsMissedError: an image came back empty.
            RefusedError: there are too many of them, or the session has spoilt their images.
        """
        record.check_count(len(rows))
        change = self.change
        first, end = change.condition.tail
        chosen = change.source.render((first, end), self.parameters).strip()
        conditions = [f"({chosen[len('WHERE') :]})"] if chosen else []
        conditions += [self._listed(target, found) for target, found in self._by_target(rows)]
        head = change.source.render((0, first), self.parameters)
        return self.mode.encode(image.sized(f"{head} WHERE {' AND '.join(conditions)}", len(rows)))

    def _listed(self, target: Target, found: Sequence[Row]) -> str:
        known = [record.imaged(target.shape, row, ())[0].key for row in found]
        listed = keys.any_of(target.shape, known, target.qualifier)
        return f"({listed} OR NOT {target.is_there})" if self.change.outer else listed

    def _by_target(self, rows: Sequence[Row]) -> list[tuple[Target, list[Row]]]:
        """Sort the images by table, each row once; those that a join has left empty are none."""
        found: list[dict[bytes, Row]] = [{} for _ in self.targets]
        for number, row_key, *rest in rows:
            if row_key is not None:
                found[int(number or 0)][row_key] = (row_key, *rest)
        return [(target, list(each.values())) for target, each in zip(self.targets, found, strict=True)]

    def records(self, rows: Sequence[Row], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the images and the statement's OK into undo records.

        Raises:
            RowsMissedError: the statement met other rows: roll back, answer 1213.
            RefusedError: too many rows; roll back.
        """
        sorted_rows = self._by_target(rows)
        met = ok.affected_rows if self.change.deletes else record.matched_rows(ok)
        labels = ", ".join(target.shape.label for target in self.targets)
        record.check_met(met, sum(len(found) for _, found in sorted_rows), labels)
        return tuple(
            record.imaged(target.shape, row, () if self.change.deletes else target.columns)[0]
            for target, found in sorted_rows
            for row in found
        )


def described(change: Joined) -> tuple[Reference, ...]:
    """Say which tables' shapes are needed.

    Raises:
        RefusedError: it cannot be told which table is changed.
    """
    if change.deletes:
        return tuple(_named(change, target) for target in change.targets)
    if all(len(column) > 1 for column in change.columns):
        return tuple(dict.fromkeys(_named(change, column[:-1]) for column in change.columns))
    if change.prefix != (0, 0):
        refuse("an UPDATE of several tables that assigns a column without its table", "write table.column")
    return change.tables


def make(
    change: Joined, shapes: Mapping[Reference, TableShape], mode: SqlMode, parameters: Sequence[Value]
) -> JoinPlan:
    """Plan a change of several tables from the shapes of those that `described` has named.

    Raises:
        RefusedError: a table, or this change of it, cannot be undone; nothing has run yet.
        NoSuchColumnError: the statement names a column that the shapes lack (they may be old).
    """
    if change.deletes:
        targets = [_target(each.label, shape, None) for each, shape in shapes.items()]
    else:
        targets = [
            _target(each.label, shapes[each], assigned)
            for each, assigned in _assigned(change, shapes).items()
        ]
    tables = [(target.shape.schema, target.shape.name) for target in targets]
    if len(set(tables)) < len(tables):
        refuse("a change of one table under two names", "change it under one of them")
    selects = [_select(change, index, target, parameters) for index, target in enumerate(targets)]
    query = mode.encode(" UNION ALL ".join(selects))
    return JoinPlan(query, change, tuple(targets), mode, tuple(parameters))


def _named(change: Joined, name: tuple[str, ...]) -> Reference:
    schema, label = (*(None,), *name)[-2:]
    found = [
        each
        for each in change.tables
        if each.label.casefold() == (label or "").casefold()
        and (schema is None or (each.table.schema or schema).casefold() == schema.casefold())
    ]
    if len(found) != 1:
        refuse(f"a change of {label}, which is not one of the tables by its own name,", "name a table once")
    return found[0]


def _assigned(change: Joined, shapes: Mapping[Reference, TableShape]) -> dict[Reference, list[str]]:
    """Tell which columns of which table are assigned."""
    found: dict[Reference, list[str]] = {}
    for *qualifier, column in change.columns:
        table = _named(change, tuple(qualifier)) if qualifier else _holder(shapes, column)
        found.setdefault(table, []).append(column)
    return found


def _holder(shapes: Mapping[Reference, TableShape], column: str) -> Reference:
    """Find the one table that has a column; the server refuses a name that several have."""
    folded = column.casefold()
    holders = [
        each
        for each, shape in shapes.items()
        if any(existing.name.casefold() == folded for existing in shape.columns)
    ]
    if not holders:
        message = f"no table of the statement has a column {column}"
        raise NoSuchColumnError(message)
    if len(holders) > 1:
        refuse(f"an assignment to {column}, which several tables have,", "write table.column")
    return holders[0]


def _target(label: str, shape: TableShape, assigned: Sequence[str] | None) -> Target:
    check_undoable(shape)
    cascades.check(shape, assigned)
    columns = image.image_columns(shape, assigned)
    moved = {shape.column(name).name for name in assigned or ()} & set(shape.primary_key)
    if moved:
        refuse(f"a change of the primary key's column {min(moved)} in a join", "change one table a statement")
    return Target(label, shape, columns)


def _select(change: Joined, index: int, target: Target, parameters: Sequence[Value]) -> str:
    shared = dict.fromkeys(change.condition.shared, SHARED)
    prefix, named, tail = (
        change.source.render(span, parameters, shared)
        for span in (change.prefix, change.named, change.condition.tail)
    )
    row_key = keys.row_key_expression(target.shape, target.qualifier)
    images = values.image_bytes(target.columns, target.qualifier)
    return (
        f"({prefix}SELECT DISTINCT {index},IF({target.is_there},{row_key},NULL),{images}"
        f" FROM {named} {tail} {image.ALL_ROWS} FOR UPDATE)"
    )
