"""The SELECT that must run right before an UPDATE or a DELETE: it locks the rows and takes their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import keys, values
from globaltx.undo.forms import Delete, Update
from globaltx.undo.refusal import refuse
from globaltx.undo.shape import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.forms import Limited
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape

_ALL_ROWS = "LIMIT 18446744073709551615"
"""Said aloud, because ``sql_select_limit`` would cut a SELECT but no UPDATE."""


def before(change: Update | Delete, shape: TableShape, parameters: Sequence[Value]) -> str:
    """Write the SELECT of row_key and image; it chooses its rows by the statement's own words.

    Raises:
        RefusedError: the statement and the image might choose different rows.
    """
    _check_limit(change.limited, shape)
    return _select(change, shape, image_columns(change, shape), parameters)


def _select(
    change: Update | Delete, shape: TableShape, columns: Sequence[Column], parameters: Sequence[Value]
) -> str:
    tail = change.source.render(change.tail, parameters)
    limit = "" if change.limited else _ALL_ROWS
    return (
        f"SELECT {keys.row_key_expression(shape)},{values.image_bytes(columns)}"
        f" FROM {change.source.render(change.named, parameters)} {tail} {limit} FOR UPDATE"
    )


def before_all(change: Update, shape: TableShape, parameters: Sequence[Value]) -> str:
    """As `before`, with every column that can be written."""
    _check_limit(change.limited, shape)
    check_types(shape.stored_columns, shape)
    return _select(change, shape, shape.stored_columns, parameters)


def image_columns(change: Update | Delete, shape: TableShape) -> tuple[Column, ...]:
    """Say which columns an image must hold: the key, and what the statement can change.

    Raises:
        RefusedError: one of them has a type that cannot be restored.
    """
    if isinstance(change, Delete):
        columns = shape.stored_columns
    else:
        assigned = {shape.column(name).name for name in change.assigned}
        columns = tuple(
            column
            for column in shape.stored_columns
            if column.name in assigned or column.on_update_now or column.name in shape.primary_key
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


def _check_limit(limited: Limited | None, shape: TableShape) -> None:
    """With a LIMIT, the chosen rows are only certain when the key orders them, or is pinned down."""
    if limited is None:
        return
    key = {name.lower() for name in shape.primary_key}
    if not (key <= limited.ordered_by or key <= limited.equal_to_constant):
        refuse("LIMIT over rows in no certain order", f"add ORDER BY {', '.join(shape.primary_key)}")
