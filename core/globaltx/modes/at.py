"""AT: the SQL of phase one leaves undo records, and the outcome asks for them to be forgotten or applied.

Phase one commits locally: rows are changed for everybody to see, and for each of them the
schema's table ``globaltx_undo`` holds a record, which is at the same time the global lock on the
row. So

* Commit asks to *forget* the records (the locks go with them): nothing else is left to do;
* Rollback asks to shut out late local commits (the fence), then to *restore* each row whose after
  image still stands, newest first, and to forget its record. A row that somebody else has
  changed is left alone with its record, and the branch is in Conflict until a person has decided:
  then the row goes by the decision, and the record with it.

Both may be repeated at any time: what is done leaves no record to do again.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from globaltx.transaction.conflict import ROWS_SHOWN_MAX, CarriedOut, last_remedy
from globaltx.transaction.model import MESSAGE_LENGTH_MAX, Settlement, shorten
from globaltx.transaction.states import Outcome, State
from globaltx.undo import shown
from globaltx.undo.refusal import RESOLVED_BY_PERSON, ROW_CHANGED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from globaltx.transaction.conflict import Resolution, RowConflict


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


def rolled_back(
    conflicts: Sequence[RowConflict],
    resolutions: Sequence[Resolution] = (),
    decided: Mapping[int, int] = MappingProxyType({}),
) -> Settlement:
    """Tell how a rollback ended.

    ``conflicts`` are the rows that were left alone; ``decided`` counts, by the numbers of the
    ``resolutions``, the rows that went by them.
    """
    done = tuple(CarriedOut(each.number, decided.get(each.number, 0)) for each in resolutions)
    if conflicts:
        return _left_alone(conflicts, done)
    remedy = last_remedy(resolutions)
    if remedy is None:
        return Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), carried_out=done)
    return Settlement(State.ROLLED_BACK, RESOLVED_BY_PERSON, shorten(str(remedy)), carried_out=done)


def _left_alone(conflicts: Sequence[RowConflict], done: tuple[CarriedOut, ...]) -> Settlement:
    more = f" (and {len(conflicts) - 1} more rows)" if len(conflicts) > 1 else ""
    message = shorten(shown.sentence(conflicts[0]), MESSAGE_LENGTH_MAX - len(more)) + more
    first = tuple(conflicts[:ROWS_SHOWN_MAX])
    return Settlement(State.CONFLICT, ROW_CHANGED, message, first, len(conflicts), done)
