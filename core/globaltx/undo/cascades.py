"""Foreign keys that change rows of other tables, which no image sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.shape import TableShape


def check(shape: TableShape, assigned: Sequence[str] | None) -> None:
    """See that an UPDATE of these columns, or a DELETE (None), changes rows of no other table.

    Raises:
        RefusedError: it does.
        NoSuchColumnError: there is no such column.
    """
    if assigned is None:
        _check_delete(shape)
        return
    changed = {shape.column(name).name for name in assigned}
    for reference in shape.references:
        if reference.updates and changed & set(reference.referenced):
            refuse(
                f"an UPDATE that cascades to {reference.schema}.{reference.table}",
                "use ON UPDATE RESTRICT and change those rows by a statement of their own",
            )


def _check_delete(shape: TableShape) -> None:
    for reference in shape.references:
        if reference.deletes:
            other = f"{reference.schema}.{reference.table}"
            refuse(
                f"a DELETE from {shape.label} that does {reference.on_delete} in {other}",
                "delete those rows first, by a statement of their own, and use ON DELETE RESTRICT",
            )
