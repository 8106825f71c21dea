"""INSERT ... SELECT: the rows that a SELECT gives, and their keys.

The server carries the statement out as it is, so that what it converts, warns of and counts is its
own. The keys are found in one of two ways:

- The SELECT gives them: it is asked for them right before, under the share locks that the statement
  takes too, and only if the second answer must be the same.
- AUTO_INCREMENT generates them, which need not be one number after the other: behind the statement
  the rows from its first key on are read, in a snapshot that is older than the statement and holds
  no such key. Whatever it shows is the statement's own.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from globaltx.undo import insertion, keys, query, record, upsert, values
from globaltx.undo.exact import KeyPart, exact
from globaltx.undo.forms import Answers, OnHit
from globaltx.undo.image import ALL_ROWS
from globaltx.undo.literal import Text, identifier
from globaltx.undo.record import ROWS_MAX
from globaltx.undo.refusal import RowsMissedError, refuse
from globaltx.undo.shape import Column, Kind, UniqueKey
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Insert, Query
    from globaltx.undo.literal import Value
    from globaltx.undo.record import Ok, UndoRecord
    from globaltx.undo.shape import TableShape
    from globaltx.undo.sqlmode import SqlMode

_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL})
_KNOWN = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.TEXT, Kind.FOREIGN_TEXT, Kind.BINARY})
_KNOWN_TYPES = frozenset({"date", "datetime", "uuid"})
"""What a text can be known to be stored as."""
_TEXTS = frozenset({Kind.TEXT, Kind.FOREIGN_TEXT})


@dataclass(frozen=True, slots=True)
class SelectedPlan:
    """``image`` asks the SELECT for the keys of the rows to come."""

    image: bytes
    insert: Insert
    shape: TableShape
    asked: tuple[Column, ...]
    mode: SqlMode
    guards_gaps: bool = True
    answers: Answers = Answers.TABLES

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the keys and the statement's OK into undo records.

        Raises:
            RowsMissedError: the server wrote another number of rows: roll back.
            RefusedError: too many rows, or a key is none that the column can hold; roll back.
        """
        record.check_met(ok.affected_rows, len(rows), self.shape.label)
        return tuple(
            record.inserted(self.shape, [self._part(cell) for cell in cells], ok, proof=True)
            for cells in self._cells(rows)
        )

    @property
    def meets(self) -> bool:
        """Whether its rows may meet others: then `upsert` must be planned before the statement is sent."""
        return self.insert.on_hit is not OnHit.FAIL

    def upsert(self, rows: Sequence[Sequence[bytes | None]]) -> upsert.UpsertPlan:
        """Plan a statement that may meet rows, from what its own will have in their unique keys.

        Raises:
            RefusedError: too many rows, or a value is none that its column can hold.
        """
        record.check_count(len(rows))
        new = [dict(zip((c.name for c in self.asked), cells, strict=True)) for cells in self._cells(rows)]
        primary = UniqueKey("PRIMARY", self.shape.primary_key)
        compared = []
        for key in (primary, *self.shape.unique_keys):
            of_rows = [[self._unique(each.get(name), name) for name in key.columns] for each in new]
            whole = [tuple(part for part in parts if part is not None) for parts in of_rows]
            compared.append((key, tuple(parts for parts in whole if len(parts) == len(key.columns))))
        return upsert.met(self.insert, self.shape, self.mode, compared[0][1], compared)

    def _cells(self, rows: Sequence[Sequence[bytes | None]]) -> list[list[_Cell]]:
        return [
            [_Cell(column, row[2 * at], row[2 * at + 1]) for at, column in enumerate(self.asked)]
            for row in rows
        ]

    def _part(self, cell: _Cell) -> KeyPart:
        part = cell.part()
        generates = (
            cell.column.auto_increment and self.mode.auto_value_on_zero and (part and part.known == "0")
        )
        if part is None or generates:
            refuse(
                f"{self.insert.on_hit} ... SELECT that gives the column {cell.column.name} what is not"
                f" exactly a {cell.column.full_type}",
                "give it as it is to be stored",
            )
        return part

    def _unique(self, cell: _Cell | None, name: str) -> KeyPart | None:
        column = self.shape.column(name)
        if cell is None:
            return None
        if cell.value is None and column.nullable:
            return None
        return self._part(cell)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A value for a column: its text or bytes in hexadecimal, and what tells whether it is just that."""

    column: Column
    value: bytes | None
    check: bytes | None

    def part(self) -> KeyPart | None:
        """The part of a key that it gives; None when the server may store another."""
        if self.value is None:
            return None
        data = bytes.fromhex(self.value.decode("ascii"))
        if self.column.kind is Kind.BINARY:
            return exact(self.column, data)
        if self.column.kind in _NUMBERS and not _same_number(data, self.check):
            return None
        if self.column.kind in _TEXTS and self.check == b"binary" and not data.isascii():
            return None
        return exact(self.column, Text(data))


def _same_number(text: bytes, number: bytes | None) -> bool:
    """Whether a value is the number that it looks like; ENUM and BIT are another one."""
    try:
        return number is not None and Decimal(text.decode("ascii")) == Decimal(number.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return False


@dataclass(frozen=True, slots=True)
class GeneratedPlan:
    """``image`` tells the largest key of the snapshot, ``behind`` the keys from the statement's first on."""

    image: bytes
    behind: bytes
    insert: Insert
    shape: TableShape
    generated: Column
    guards_gaps: bool = True
    answers: Answers = Answers.ROW

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the answer to ``image``, one row, and to ``behind`` into undo records.

        Raises:
            RowsMissedError: they cannot be told from rows that were there: roll back, answer 1213.
            RefusedError: there are too many; roll back.
        """
        if ok.affected_rows == 0:
            return ()
        record.check_count(ok.affected_rows)
        largest, found = rows[0][0], rows[1:]
        first = found[0][2] if found else None
        if first is None or (largest is not None and int(first) <= int(largest)):
            message = f"the keys that {self.shape.label} generated do not follow those that are there"
            raise RowsMissedError(message)
        record.check_met(ok.affected_rows, len(found), self.shape.label)
        return tuple(record.found_new(self.shape, row) for row in found)


def make(
    insert: Insert, select: Query, shape: TableShape, mode: SqlMode, parameters: Sequence[Value]
) -> SelectedPlan | GeneratedPlan:
    """Plan an INSERT ... SELECT.

    Raises:
        RefusedError: its keys cannot be known.
    """
    columns = insertion.columns_of(insert, shape)
    left_out = [column for column in shape.key_columns if not _gives(insert, select, column, columns)]
    if left_out:
        if not left_out[0].auto_increment or len(left_out) > 1:
            refuse(
                f"an INSERT without a value for the primary key's column {left_out[-1].name}",
                "give it a value",
            )
        return generated(insert, shape, mode)
    asked = list(shape.key_columns)
    if insert.on_hit is not OnHit.FAIL:
        insert = upsert.with_what_changes(insert, shape)
        upsert.check_keys(insert, shape)
        asked = _unique_columns(insert, shape, columns)
    for column in asked:
        if column.kind not in _KNOWN and column.type not in _KNOWN_TYPES:
            refuse(
                f"{insert.on_hit} ... SELECT into the key column {column.name}, a {column.type},",
                "read the rows first and INSERT them with VALUES",
            )
    _check_answers(insert, select, [columns.index(column.name.casefold()) for column in asked], len(columns))
    names = [f"globaltx_{at}" for at in range(len(columns))]
    selected = ",".join(
        part for column in asked for part in _asked(column, names[columns.index(column.name.casefold())])
    )
    text = (
        f"WITH globaltx_rows ({','.join(names)}) AS ({query.written(insert.source, select, parameters)})"
        f" SELECT {selected} FROM globaltx_rows {ALL_ROWS}"
    )
    return SelectedPlan(mode.encode(text), insert, shape, tuple(asked), mode)


def generated(insert: Insert, shape: TableShape, mode: SqlMode) -> GeneratedPlan:
    """Plan an INSERT of rows whose keys are all generated.

    Raises:
        RefusedError: it may change rows that are there, or a part of the key is not generated.
    """
    if insert.on_hit not in {OnHit.FAIL, OnHit.IGNORE}:
        refuse(
            f"{insert.on_hit} of several rows whose keys are generated",
            "use one statement a row, or give the keys",
        )
    column = next(column for column in shape.key_columns if column.auto_increment)
    name, table = identifier(column.name), f"{identifier(shape.schema)}.{identifier(shape.name)}"
    key = f"{keys.row_key_expression(shape)},{values.image_bytes(shape.key_columns)},{name}"
    behind = f"SELECT {key} FROM {table} WHERE {name}>=LAST_INSERT_ID() ORDER BY {name} LIMIT {ROWS_MAX + 1}"
    largest = f"SELECT MAX({name}) FROM {table}"
    return GeneratedPlan(mode.encode(largest), mode.encode(behind), insert, shape, column)


def _gives(insert: Insert, select: Query, column: Column, columns: Sequence[str]) -> bool:
    """Whether the SELECT gives a column its value; NULL lets AUTO_INCREMENT generate it."""
    name = column.name.casefold()
    if name not in columns:
        return False
    if not column.auto_increment or select.items is None or len(select.items) != len(columns):
        return True
    return not query.is_null(insert.source, select.items[columns.index(name)])


def _unique_columns(insert: Insert, shape: TableShape, columns: Sequence[str]) -> list[Column]:
    """The columns of all unique keys that can be met; those left out are NULL and meet no row."""
    found = list(shape.key_columns)
    for key in shape.unique_keys:
        for column in (shape.column(name) for name in key.columns):
            given = column.name.casefold() in columns
            if column.generated or not (given or column.null_default):
                refuse(
                    f"{insert.on_hit} whose value for the unique column {column.name} is not exactly known",
                    "give it as it is to be stored",
                )
            if given and column not in found:
                found.append(column)
    return found


def _check_answers(insert: Insert, select: Query, places: Sequence[int], count: int) -> None:
    """See that the SELECT gives the same keys when it is asked before."""
    if select.items is None or len(select.items) != count:
        certain = select.whole is not Answers.ONCE
    else:
        certain = select.answers is not Answers.ONCE and all(
            query.repeats(insert.source, select.items[place]) for place in places
        )
    if not certain:
        refuse(
            f"{insert.on_hit} ... SELECT whose keys may be others each time (LIMIT, GROUP BY, NOW(), ...)",
            "read the rows first and INSERT them with VALUES",
        )


def _asked(column: Column, name: str) -> tuple[str, str]:
    """What is asked of a value: the hexadecimal of what is stored, and a check."""
    if column.kind is Kind.BINARY:
        return f"HEX(CONCAT({name},''))", "NULL"
    text = f"HEX(CONVERT({name} USING utf8mb4))"
    if column.kind in _NUMBERS:
        return text, f"CAST({name}+0 AS CHAR)"
    return text, f"CHARSET({name})"
