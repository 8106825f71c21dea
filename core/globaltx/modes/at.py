"""AT: the SQL of phase one leaves undo records, and the outcome asks for them to be forgotten or applied.

Phase one commits locally: rows are changed for everybody to see, and for each of them the
schema's table ``globaltx_undo`` holds a record, which is at the same time the global lock on the
row. So

* Commit asks to *forget* the records (the locks go with them): nothing else is left to do;
* Rollback asks to shut out late local commits (the fence), then to *restore* each row whose after
  image still stands, newest first, and to forget its record. A row that somebody else has
  changed is left alone with its record, and the branch is in Conflict until a person has decided.

Both may be repeated at any time: what is done leaves no record to do again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.transaction.model import MESSAGE_LENGTH_MAX, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.undo.refusal import ROW_CHANGED

if TYPE_CHECKING:
    from collections.abc import Sequence


class Duty(StrEnum):
    """What an outcome asks of a branch."""

    FORGET = "forget the undo records"
    RESTORE = "fence, restore the rows, forget the undo records"


def duty(outcome: Outcome) -> Duty:
    """Say what an outcome asks of an AT branch."""
    return Duty.FORGET if outcome is Outcome.COMMIT else Duty.RESTORE


def committed() -> Settlement:
    """All records are forgotten."""
    return Settlement(State.COMMITTED, str(State.COMMITTED))


def rolled_back(conflicts: Sequence[str]) -> Settlement:
    """Tell how a rollback ended; ``conflicts`` are sentences about rows that were left alone."""
    if not conflicts:
        return Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK))
    more = f" (and {len(conflicts) - 1} more rows)" if len(conflicts) > 1 else ""
    room = MESSAGE_LENGTH_MAX - len(more)
    first = conflicts[0] if len(conflicts[0]) <= room else conflicts[0][: room - 3] + "..."
    return Settlement(State.CONFLICT, ROW_CHANGED, first + more)
