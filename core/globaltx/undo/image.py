"""The SELECT that must run right before an UPDATE or a DELETE: it locks the rows and takes their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import keys, values
from globaltx.undo.condition import SHARED
from globaltx.undo.forms import Answers, Delete, Update
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape

ALL_ROWS = "LIMIT 18446744073709551615"
"""Said aloud, because ``sql_select_limit`` would cut a SELECT but no UPDATE."""
STATEMENT_BYTES_MAX = 12 * 1024 * 1024
"""Under the 16 MiB that ``max_allowed_packet`` usually is."""


def before(
    change: Update | Delete,
    shape: TableShape,
    columns: Sequence[Column],
    parameters: Sequence[Value],
    more: Sequence[str] = (),
    *,
    noted: bool = False,
) -> str:
    """Write the SELECT of row_key, image and ``more``; it chooses its rows by the statement's own words.

    ``noted``: of the one row that it finds, both go into variables of the session (`values.NOTED`).
    """
    condition = change.condition
    shared = dict.fromkeys(condition.shared, SHARED)
    tail = change.source.render(condition.tail, parameters, shared)
    limit = "" if condition.limited else ALL_ROWS
    prefix = change.source.render(change.prefix, parameters, shared)
    row_key = shape.once("row_key", lambda: keys.row_key_expression(shape))
    taken = values.as_bytes(values.image_of(shape, columns))
    into = f" INTO {','.join(values.NOTED)}" if noted else ""
    return (
        f"{prefix}SELECT {','.join([row_key, taken, *more])}{into}"
        f" FROM {change.source.render(change.named, parameters)} {tail} {limit} FOR UPDATE"
    )


def narrowed(
    change: Update | Delete, shape: TableShape, parameters: Sequence[Value], rows: Sequence[Sequence[str]]
) -> str:
    """Write the statement for the rows that the image has found, by their keys' literals.

    Raises:
        RefusedError: there are too many to name.
    """
    condition, source = change.condition, change.source
    head = source.render((0, condition.tail[0]), parameters)
    order = source.render(condition.order, parameters) if condition.order else ""
    answer = change.returning if isinstance(change, Delete) else None
    returning = " " + source.render(answer, parameters) if answer else ""
    return sized(f"{head} WHERE {keys.any_of(shape, rows)} {order}{returning}", len(rows))


def sized(statement: str, rows: int) -> str:
    """Give a statement back that names so many rows.

    Raises:
        RefusedError: it is too long for a packet.
    """
    if len(statement) > STATEMENT_BYTES_MAX:
        refuse(f"a change of {rows} rows by their keys", "change fewer rows in one statement")
    return statement


def answers(change: Update | Delete, shape: TableShape) -> Answers:
    """How long the choice of rows holds: with a LIMIT, only while the key orders them, or is pinned down."""
    limited = change.condition.limited
    if limited is None:
        return change.condition.answers
    key = {name.lower() for name in shape.primary_key}
    certain = key <= limited.ordered_by or key <= limited.equal_to_constant
    return change.condition.answers if certain else Answers.ONCE


def image_columns(shape: TableShape, assigned: Sequence[str] | None) -> tuple[Column, ...]:
    """Say which columns an image must hold: the key, and what is assigned; all for a DELETE (None).

    Raises:
        RefusedError: one of them has a type that cannot be restored.
    """
    names = None if assigned is None else tuple(assigned)
    return shape.once(("columns", names), lambda: _image_columns(shape, names))


def _image_columns(shape: TableShape, assigned: Sequence[str] | None) -> tuple[Column, ...]:
    if assigned is None:
        columns = shape.stored_columns
    else:
        changed = {shape.column(name).name for name in assigned}
        columns = tuple(
            column
            for column in shape.stored_columns
            if column.name in changed or column.on_update_now or column.name in shape.primary_key
        )
    check_types(columns, shape)
    return columns


def check_types(columns: Sequence[Column], shape: TableShape) -> None:
    """Refuse columns whose values cannot be written down and back.

    Raises:
        RefusedError: with the column.
    """
    for column in columns:
        if column.kind is Kind.UNKNOWN:
            refuse(
                f"a change of {shape.label}, whose column {column.name} is {column.full_type},",
                "use another type",
            )
