"""From a change, the shape of its table and its parameters to what must be asked before it, and kept after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from globaltx.undo.sqlmode import SqlMode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape
    from globaltx.undo.statement import Change


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """One row that a statement changed, on its way into the undo table (opaque to the session)."""

    shape: TableShape


@dataclass(frozen=True, slots=True)
class Ok:
    """The numbers of the statement's own OK packet, as the server sent them."""

    affected_rows: int
    insert_id: int = 0
    info: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """``image`` is the SELECT that must run right before the statement; None for an INSERT."""

    image: bytes | None

    def records(self, rows: Sequence[Sequence[bytes | None]], ok: Ok) -> tuple[UndoRecord, ...]:
        """Turn the image's text resultset and the statement's OK into undo records.

        Raises:
            RowsMissedError: the statement met other rows than the image: roll back, answer 1213.
        """
        raise NotImplementedError(rows, ok)


def make_plan(
    change: Change,
    shape: TableShape,
    mode: SqlMode = SqlMode(),  # noqa: B008  a frozen value
    parameters: Sequence[Value] = (),
) -> Plan:
    """Plan a change.

    Raises:
        RefusedError: this table, or this change of it, cannot be undone; nothing has run yet.
    """
    raise NotImplementedError(change, shape, mode, parameters)
