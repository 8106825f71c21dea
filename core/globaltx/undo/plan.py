"""What must be asked before a change, and what must be kept after it.

From the change, the shape of its table and its parameters; nothing has run when this refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from globaltx.undo import cascades, computed, image, insertion, move, record, selected, upsert
from globaltx.undo.choice import Choice
from globaltx.undo.computed import Computed
from globaltx.undo.forms import Answers, Delete, Insert, OnHit, Update
from globaltx.undo.join import JoinPlan
from globaltx.undo.move import MovePlan
from globaltx.undo.record import ROWS_MAX, Ok, UndoRecord
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.selected import GeneratedPlan, SelectedPlan
from globaltx.undo.shape import NoSuchColumnError, TableShape, check_undoable
from globaltx.undo.sqlmode import SqlMode
from globaltx.undo.upsert import UpsertPlan
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from globaltx.undo.exact import KeyPart
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import Column

_DEFAULT = SqlMode()


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An UPDATE or DELETE: ``image`` is the SELECT that must run right before it."""

    image: bytes
    choice: Choice
    columns: tuple[Column, ...]
    guards_gaps: bool = False

    @property
    def answers(self) -> Answers:
        """How long the image's choice of rows holds."""
        return self.choice.answers

    def narrowed(self, rows: Sequence[Sequence[bytes | None]]) -> bytes:
        """Write the statement for the rows of the image alone; see `Choice.narrowed`."""
        return self.choice.narrowed(rows)

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the image's text resultset and the statement's OK into undo records.

        The image has locked its rows; that the statement met as many proves that it met the same.

        Raises:
            RowsMissedError: it met other rows: roll back, answer 1213.
            RefusedError: too many rows; roll back.
        """
        shape, deletes = self.choice.shape, isinstance(self.choice.change, Delete)
        met = ok.affected_rows if deletes else record.matched_rows(ok)
        record.check_met(met, len(rows), shape.label)
        after = () if deletes else self.columns
        return tuple(record.imaged(shape, row, after)[0] for row in rows)


@dataclass(frozen=True, slots=True)
class InsertPlan:
    """An INSERT: its keys come from its values and from the OK packet.

    It needs no image, unless keys are computed: then ``image`` computes them, and ``statement`` goes
    in the place of the application's.
    """

    shape: TableShape
    rows: tuple[tuple[KeyPart | insertion.Generated | Computed, ...], ...]
    image: bytes | None = None
    statement: bytes | None = None
    auto_value_on_zero: bool = True
    guards_gaps: bool = False
    answers: Answers = Answers.ROW

    @property
    def generates(self) -> bool:
        """Whether the server generates the keys, and tells the first with the statement's OK."""
        return any(part is insertion.GENERATED for part in self.rows[0])

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the statement's OK into undo records; ``rows`` are the computed keys in one row, or none.

        Raises:
            RowsMissedError: the server wrote another number of rows, or tells no generated key: roll back.
            RefusedError: a computed key is none that the column can hold; roll back.
        """
        if ok.affected_rows != len(self.rows) or (self.generates and ok.insert_id == 0):
            message = f"the INSERT wrote {ok.affected_rows} rows of {self.shape.label}, not {len(self.rows)}"
            raise RowsMissedError(message)
        values = iter(rows[0] if rows else ())
        return tuple(
            record.inserted(self.shape, self._known(row, values), ok, index, proof=True)
            for index, row in enumerate(self.rows)
        )

    def _known(
        self, row: Sequence[KeyPart | insertion.Generated | Computed], values: Iterator[bytes | None]
    ) -> list[KeyPart | insertion.Generated]:
        return [
            part.part(next(values), auto_value_on_zero=self.auto_value_on_zero)
            if isinstance(part, Computed)
            else part
            for part in row
        ]


Plan: TypeAlias = "ImagePlan | InsertPlan | UpsertPlan | MovePlan | JoinPlan | SelectedPlan | GeneratedPlan"


def make_plan(
    change: Insert | Update | Delete,
    shape: TableShape,
    mode: SqlMode = _DEFAULT,
    parameters: Sequence[Value] = (),
) -> Plan:
    """Plan a change of one table; `join.make` plans one of several.

    Raises:
        RefusedError: this table, or this change of it, cannot be undone; nothing has run yet.
        NoSuchColumnError: the statement names a column that the shape lacks (the shape may be old).
    """
    check_undoable(shape)
    if isinstance(change, Insert):
        image.check_types(shape.stored_columns, shape)
        if change.query is not None:
            return selected.make(change, change.query, shape, mode, parameters)
        if change.on_hit is OnHit.IGNORE and len(change.rows) > 1:
            keys = insertion.keys(change, shape, mode, parameters)
            if any(part is insertion.GENERATED for part in keys[0]):
                return selected.generated(change, shape, mode)
        if change.on_hit is not OnHit.FAIL:
            return upsert.make(change, shape, mode, parameters)
        return _insert(change, shape, mode, parameters)
    assigned = None if isinstance(change, Delete) else change.assigned
    cascades.check(shape, assigned)
    if isinstance(change, Update) and move.moves(change, shape):
        return move.make(change, shape, mode, parameters)
    choice = Choice(change, shape, mode, tuple(parameters))
    columns = image.image_columns(shape, assigned)
    return ImagePlan(choice.image(columns), choice, columns)


def _insert(insert: Insert, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]) -> InsertPlan:
    rows = insertion.keys(insert, shape, mode, parameters)
    parts = [part for row in rows for part in row if isinstance(part, Computed)]
    if not parts:
        return InsertPlan(shape, rows)
    if len(parts) > computed.VARIABLES_MAX:
        refuse(f"an INSERT that computes {len(parts)} keys", "insert fewer rows in one statement")
    image = mode.encode(computed.select(insert.source, parts, parameters))
    sql = mode.encode(computed.statement(insert.source, parts, parameters))
    return InsertPlan(shape, rows, image, sql, mode.auto_value_on_zero)


__all__ = [
    "ROWS_MAX",
    "GeneratedPlan",
    "ImagePlan",
    "InsertPlan",
    "JoinPlan",
    "MovePlan",
    "NoSuchColumnError",
    "Ok",
    "Plan",
    "SelectedPlan",
    "UndoRecord",
    "UpsertPlan",
    "make_plan",
]
