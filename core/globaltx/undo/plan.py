"""What must be asked before a change, and what must be kept after it.

From the change, the shape of its table and its parameters; nothing has run when this refuses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from globaltx.undo import image, insertion, keys, literal, values
from globaltx.undo.exact import KeyPart
from globaltx.undo.forms import Delete, Insert, Update
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.shape import Column, Kind, NoSuchColumnError, TableShape, check_undoable
from globaltx.undo.sqlmode import SqlMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Change
    from globaltx.undo.literal import Value

_DEFAULT = SqlMode()
_FIRST_NUMBER = re.compile(rb"\d+")
ROWS_MAX = 10_000
"""Rows that one statement may change: their images must fit into one packet of the local commit."""


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """One row that a statement changed, on its way into the undo table (opaque to the session).

    ``row_key`` and ``key`` are SQL; ``after`` are the columns of the after image, none for a
    row that was deleted; ``before`` is the before image, None for a row that was inserted.
    ``certain``: the key is known to find the row, it needs no proof at the commit.
    """

    shape: TableShape
    row_key: str
    key: tuple[str, ...]
    before: bytes | None
    after: tuple[Column, ...]
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Ok:
    """The numbers of the statement's own OK packet, as the server sent them.

    ``info`` is its text (``Rows matched: 1  Changed: 1  Warnings: 0``, in any language).
    """

    affected_rows: int
    insert_id: int = 0
    info: bytes = b""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """An UPDATE or DELETE: ``image`` is the SELECT that must run right before it."""

    image: bytes
    change: Update | Delete
    shape: TableShape
    columns: tuple[Column, ...]

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the image's text resultset and the statement's OK into undo records.

        The image has locked its rows; that the statement met as many proves that it met the same.

        Raises:
            RowsMissedError: it met other rows: roll back, answer 1213.
            RefusedError: too many rows; roll back.
        """
        if self._met(ok) != len(rows):
            message = f"{self.shape.label}: the image found {len(rows)} rows, the statement {self._met(ok)}"
            raise RowsMissedError(message)
        if len(rows) > ROWS_MAX:
            refuse(f"a change of {len(rows)} rows at once", f"change at most {ROWS_MAX} rows a statement")
        return tuple(self._record(row) for row in rows)

    def _met(self, ok: Ok) -> int:
        if isinstance(self.change, Delete):
            return ok.affected_rows
        matched = _FIRST_NUMBER.search(ok.info)
        return ok.affected_rows if matched is None else int(matched[0])

    def _record(self, row: Sequence[bytes | None]) -> UndoRecord:
        row_key, before = row[0], row[1]
        if row_key is None or before is None:
            message = f"the image of a row of {self.shape.label} came back empty"
            raise RowsMissedError(message)
        try:
            image = values.read_image(before)
        except values.UnreadableImageError as error:
            refuse(f"a change in this session ({error})", "use an 8-bit or utf8mb4 collation_connection")
        key = keys.integer_key_literals(self.shape, row_key) or keys.key_literals(self.shape, image)
        after = () if isinstance(self.change, Delete) else self.columns
        return UndoRecord(self.shape, keys.literal_key(row_key), key, before, after)


@dataclass(frozen=True, slots=True)
class InsertPlan:
    """An INSERT: it needs no image, its keys come from its values and from the OK packet."""

    shape: TableShape
    rows: tuple[tuple[KeyPart | insertion.Generated, ...], ...]
    image: None = None

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the statement's OK into undo records; ``rows`` is empty.

        Raises:
            RowsMissedError: the server wrote another number of rows, or tells no generated key: roll back.
        """
        generated = any(part is insertion.GENERATED for part in self.rows[0])
        if rows or ok.affected_rows != len(self.rows) or (generated and ok.insert_id == 0):
            message = f"the INSERT wrote {ok.affected_rows} rows of {self.shape.label}, not {len(self.rows)}"
            raise RowsMissedError(message)
        return tuple(self._record(row, index, ok) for index, row in enumerate(self.rows))

    def _record(self, row: tuple[KeyPart | insertion.Generated, ...], index: int, ok: Ok) -> UndoRecord:
        parts = [
            _generated(ok.insert_id, index) if isinstance(part, insertion.Generated) else part for part in row
        ]
        return UndoRecord(
            shape=self.shape,
            row_key=_row_key(parts),
            key=tuple(part.literal for part in parts),
            before=None,
            after=self.shape.stored_columns,
            certain=all(column.kind is Kind.INTEGER for column in self.shape.key_columns),
        )


Plan: TypeAlias = "ImagePlan | InsertPlan"


def _generated(first: int, index: int) -> KeyPart:
    """The key of the n-th row of an INSERT: the server counts in steps that the session knows."""
    if index == 0:
        return KeyPart(str(first), str(first))
    key = f"{first}+{index}*@@auto_increment_increment"
    return KeyPart(f"({key})", sql=f"CAST({key} AS CHAR)")


def _row_key(parts: list[KeyPart]) -> str:
    if all(part.known is not None for part in parts):
        return keys.literal_key(",".join(part.known or "" for part in parts).encode("ascii"))
    return keys.as_bytes(
        [
            part.sql if part.known is None else literal.sql(literal.Text(part.known.encode(), "ascii"))
            for part in parts
        ]
    )


def make_plan(
    change: Change, shape: TableShape, mode: SqlMode = _DEFAULT, parameters: Sequence[Value] = ()
) -> Plan:
    """Plan a change.

    Raises:
        RefusedError: this table, or this change of it, cannot be undone; nothing has run yet.
        NoSuchColumnError: the statement names a column that the shape lacks (the shape may be old).
    """
    check_undoable(shape)
    if isinstance(change, Insert):
        image.check_types(shape.stored_columns, shape)
        return InsertPlan(shape, insertion.row_keys(change, shape, mode, parameters))
    _check_references(change, shape)
    query = image.before(change, shape, parameters)
    return ImagePlan(mode.encode(query), change, shape, image.image_columns(change, shape))


def _check_references(change: Update | Delete, shape: TableShape) -> None:
    """Refuse what would change rows of other tables, which no image sees; and a changed key."""
    if isinstance(change, Delete):
        for reference in shape.references:
            if reference.deletes:
                other = f"{reference.schema}.{reference.table}"
                refuse(
                    f"a DELETE from {shape.label} that does {reference.on_delete} in {other}",
                    "delete those rows first, by a statement of their own, and use ON DELETE RESTRICT",
                )
        return
    assigned = {shape.column(name).name for name in change.assigned}
    for name in shape.primary_key:
        if name in assigned:
            refuse(f"a change of the primary key's column {name}", "DELETE the row and INSERT it anew")
    for reference in shape.references:
        if reference.updates and assigned & set(reference.referenced):
            refuse(
                f"an UPDATE that cascades to {reference.schema}.{reference.table}",
                "use ON UPDATE RESTRICT and change those rows by a statement of their own",
            )


__all__ = [
    "ROWS_MAX",
    "ImagePlan",
    "InsertPlan",
    "NoSuchColumnError",
    "Ok",
    "Plan",
    "UndoRecord",
    "make_plan",
]
