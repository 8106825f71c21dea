"""INSERT IGNORE, INSERT ... ON DUPLICATE KEY UPDATE and REPLACE: what new rows do to those that are there.

A locking SELECT over every unique key, by the values of the new rows, comes before the statement.
The rows that it finds are all that the statement can meet; under REPEATABLE READ it also locks the
gaps where it found none, so that nobody puts a row there meanwhile. Every other row that the
statement leaves has the primary key of a new row: a record that says "was not there" follows the
images, and where the row was there after all, the image of it wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import image, insertion, keys, record, values
from globaltx.undo.exact import KeyPart
from globaltx.undo.forms import Answers, OnHit
from globaltx.undo.literal import identifier
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.shape import UniqueKey
from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Insert
    from globaltx.undo.literal import Value
    from globaltx.undo.record import Ok, UndoRecord
    from globaltx.undo.shape import Column, TableShape
    from globaltx.undo.sqlmode import SqlMode

_ALL_ROWS = "LIMIT 18446744073709551615"


@dataclass(frozen=True, slots=True)
class UpsertPlan:
    """``image`` must run right before the statement, in a transaction that locks gaps.

    ``images`` are the columns of a row that is hit; none when hits change nothing. ``keeps_key``: the key of
    such a row is given to LAST_INSERT_ID() and written again.
    """

    image: bytes | None
    shape: TableShape
    on_hit: OnHit
    images: tuple[Column, ...]
    rows: tuple[tuple[KeyPart | insertion.Generated, ...], ...]
    guards_gaps: bool = True
    answers: Answers = Answers.ROW
    keeps_key: bool = False

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the images of the rows that were hit and the statement's OK into undo records.

        Raises:
            RowsMissedError: a generated key has met a row: roll back, answer 1213.
            RefusedError: too many rows, or one whose key has changed; roll back.
        """
        found = {row[0]: row for row in rows}
        record.check_count(len(found) + len(self.rows))
        hit = [self._hit(row) for row in found.values()] if self._keeps_images else []
        return (*hit, *self._inserted(set(found), ok))

    @property
    def _keeps_images(self) -> bool:
        """Rows that IGNORE leaves alone need a record only where their keys cannot be told from new ones."""
        return self.on_hit is not OnHit.IGNORE or any(record.known_key(row) is None for row in self.rows)

    @property
    def generates(self) -> bool:
        """Whether the server generates the key, and tells it with the statement's OK."""
        return any(part is insertion.GENERATED for row in self.rows[:1] for part in row)

    def _hit(self, row: Sequence[bytes | None]) -> UndoRecord:
        vanishing = self.on_hit is OnHit.REPLACE
        hit = record.imaged(self.shape, row, self.images, vanishing=vanishing)[0]
        if self.keeps_key:
            _check_sign(self.shape, hit.key)
        return hit

    def _inserted(self, there: set[bytes | None], ok: Ok) -> list[UndoRecord]:
        if self.generates:
            return (
                [record.inserted(self.shape, self.rows[0], ok, proof=False)] if self._adds(there, ok) else []
            )
        proof = not self.shape.unique_keys or (
            len(self.rows) == 1 and (self.on_hit is OnHit.REPLACE or not there)
        )
        return [
            record.inserted(self.shape, row, ok, proof=proof)
            for row in self.rows
            if record.known_key(row) not in there
        ]

    def _adds(self, there: set[bytes | None], ok: Ok) -> bool:
        """Whether a row with a generated key was added."""
        if self.on_hit is not OnHit.REPLACE and there:
            return False
        if self.on_hit is OnHit.IGNORE and ok.affected_rows == 0:
            return False
        if ok.insert_id == 0 or (ok.affected_rows != 1 and not there):
            message = f"the key that {self.shape.label} generated was there already"
            raise RowsMissedError(message)
        return True


def make(insert: Insert, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]) -> UpsertPlan:
    """Plan an INSERT or REPLACE that may meet rows that are there.

    Raises:
        RefusedError: it might change rows that cannot be known beforehand.
    """
    insert = with_what_changes(insert, shape)
    check_keys(insert, shape)
    rows = insertion.row_keys(insert, shape, mode, parameters)
    generates = any(part is insertion.GENERATED for part in rows[0])
    if generates and len(rows) > 1:
        refuse(
            f"{insert.on_hit} of several rows whose keys are generated",
            "use one statement a row, or give the keys",
        )
    if generates and insert.returning and insert.on_hit is not OnHit.IGNORE:
        # Of a generated key that was there already nothing but the count of an OK would tell.
        refuse(
            f"{insert.on_hit} ... RETURNING whose key is generated", "leave RETURNING out, or give the key"
        )
    compared = [
        (key, insertion.unique_parts(insert, shape, key, mode, parameters)) for key in shape.unique_keys
    ]
    if not generates:
        primary = UniqueKey("PRIMARY", shape.primary_key)
        compared.insert(0, (primary, insertion.unique_parts(insert, shape, primary, mode, parameters)))
    return met(insert, shape, mode, rows, compared)


def met(
    insert: Insert,
    shape: TableShape,
    mode: SqlMode,
    rows: Sequence[tuple[KeyPart | insertion.Generated, ...]],
    compared: Sequence[tuple[UniqueKey, Sequence[Sequence[KeyPart]]]],
) -> UpsertPlan:
    """Plan it from the primary keys of the new rows, and what they have in each unique key."""
    if insert.kept:
        for row in rows:
            _check_sign(shape, [part.literal for part in row if isinstance(part, KeyPart)])
    columns = _imaged_columns(insert, shape)
    selects = [_select(shape, columns, key, parts) for key, parts in compared if parts]
    text = image.sized(" UNION ALL ".join(selects), len(rows))
    query = mode.encode(text) if text else None
    return UpsertPlan(query, shape, insert.on_hit, columns, tuple(rows), keeps_key=bool(insert.kept))


def with_what_changes(insert: Insert, shape: TableShape) -> Insert:
    """``a = LAST_INSERT_ID(a)`` leaves a number that AUTO_INCREMENT has made; anything else it may change."""
    kept = {shape.column(name).name for name in insert.kept}
    kept &= {name for name in shape.primary_key if shape.column(name).auto_increment}
    changed = tuple(name for name in insert.kept if shape.column(name).name not in kept)
    return replace(insert, kept=tuple(kept), assigned=(*insert.assigned, *changed))


def _check_sign(shape: TableShape, key: Sequence[str]) -> None:
    if any(part.startswith("-") for part in key):
        refuse(
            f"giving LAST_INSERT_ID() the key of a row of {shape.label}, which is negative and would be"
            " changed by that,",
            "leave LAST_INSERT_ID() out",
        )


def check_keys(insert: Insert, shape: TableShape) -> None:
    """Refuse what would change rows that cannot be known.

    Raises:
        RefusedError: it would.
    """
    for key in shape.unique_keys:
        if not key.whole:
            refuse(
                f"{insert.on_hit} into {shape.label}, whose unique key {key.name} compares parts of values,",
                "look for the row with SELECT ... FOR UPDATE, then INSERT or UPDATE",
            )
    primary = {name.casefold() for name in shape.primary_key}
    changed = {shape.column(name).name.casefold() for name in insert.assigned} & primary
    if changed:
        refuse(
            f"{insert.on_hit} that changes the primary key's column {min(changed)}", "leave the key as it is"
        )
    for reference in shape.references:
        deleted = insert.on_hit is OnHit.REPLACE and (reference.deletes or reference.updates)
        moved = {shape.column(name).name for name in insert.assigned} & set(reference.referenced)
        if deleted or (reference.updates and moved):
            other = f"{reference.schema}.{reference.table}"
            refuse(
                f"{insert.on_hit} into {shape.label}, which cascades to {other},",
                "use UPDATE, and change those rows by a statement of their own",
            )


def _imaged_columns(insert: Insert, shape: TableShape) -> tuple[Column, ...]:
    """A row that is replaced is needed whole, and one that may be taken for a new row as well."""
    if insert.on_hit is not OnHit.UPDATE:
        return shape.stored_columns
    assigned = {shape.column(name).name for name in insert.assigned}
    columns = tuple(
        column
        for column in shape.stored_columns
        if column.name in assigned or column.on_update_now or column.name in shape.primary_key
    )
    image.check_types(columns, shape)
    return columns


def _select(
    shape: TableShape, columns: Sequence[Column], key: UniqueKey, rows: Sequence[Sequence[KeyPart]]
) -> str:
    """Rows that have one of the values in the key; they and the gaps between are locked."""
    if len(key.columns) == 1:
        condition = f"{identifier(key.columns[0])} IN ({','.join(row[0].literal for row in rows)})"
    else:
        condition = " OR ".join(
            f"({keys.equals(key.columns, [part.literal for part in row])})" for row in rows
        )
    return (
        f"(SELECT {keys.row_key_expression(shape)},{values.image_bytes(columns)}"
        f" FROM {identifier(shape.schema)}.{identifier(shape.name)} WHERE {condition} {_ALL_ROWS} FOR UPDATE)"
    )
