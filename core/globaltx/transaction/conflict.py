"""A branch in Conflict: the rows that were left alone, and what a person has decided about them.

A decision is desired state: it is appended to the branch and never changed, and whoever leads for
the app carries it out. The last one that covers a row counts. *Keep* lets the row be what it is now
and drops its undo record; *Restore* puts back what it was before, whatever stands there; *Retry*
takes both back, and asks for another look at once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

NO_ROW = "(no row)"
"""What stands for a value where there is, or was, no row."""
ROWS_SHOWN_MAX = 16
COLUMNS_SHOWN_MAX = 24
VALUE_LENGTH_MAX = 100
KEY_LENGTH_MAX = 200
PROBLEM_LENGTH_MAX = 400
"""Bounds of what is shown of a conflict, in rows, columns a row, and characters."""
RESOLUTIONS_MAX = 64
RETRIES_MAX = 32
"""How many decisions one branch holds, and how many of them may be Retry: there is always room to end it."""
WHY_LENGTH_MAX = 512
PERSON_LENGTH_MAX = 256
TABLE_LENGTH_MAX = 64
ROW_ID_LENGTH_MAX = 32


class Remedy(StrEnum):
    """What a person can have done about rows in conflict."""

    KEEP = "Keep"
    RESTORE = "Restore"
    RETRY = "Retry"


@dataclass(frozen=True, slots=True)
class ColumnConflict:
    """One column as people read it: numbers as they are, text quoted, ``NULL``, `NO_ROW` or ``(masked)``."""

    name: str
    before: str
    after: str
    current: str


@dataclass(frozen=True, slots=True)
class RowConflict:
    """A row that was left alone; ``columns`` are those in which before, after and now differ.

    ``row`` names it among the branch's rows, and tells nothing of its values.
    """

    row: str
    table: str
    key: str
    problem: str
    columns: tuple[ColumnConflict, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision about all rows in conflict of a branch, those of a table, or one.

    ``by`` is the authenticated user, whom the API server has compared; ``at`` what their clock said.
    """

    number: int
    action: Remedy
    why: str = ""
    by: str = ""
    at: datetime | None = None
    table: str = ""
    row: str = ""

    def __str__(self) -> str:
        what = " of " + (f"row {self.row} of {self.table}" if self.row else self.table) if self.table else ""
        return f"#{self.number} {self.action}{what} by {self.by}: {self.why}"

    def covers(self, table: str, row: str) -> bool:
        """Whether a row is meant."""
        return self.table in {"", table} and self.row in {"", row}


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """What has become of a decision: how many rows went by it, and when that last changed."""

    number: int
    rows: int = 0
    at: datetime | None = None


def resolution_of(resolutions: Iterable[Resolution], table: str, row: str) -> Resolution | None:
    """The decision that counts for a row: the last that covers it."""
    covering = [each for each in resolutions if each.covers(table, row)]
    return max(covering, key=_number, default=None)


def with_new(known: Sequence[Resolution], told: Iterable[Resolution]) -> tuple[Resolution, ...]:
    """Add the decisions that are not known; one whose number is taken gets the next that is free.

    Numbers are given where decisions are written down; where that was lost they begin anew.
    """
    made = list(known)
    for each in sorted(told, key=_number):
        if all(replace(each, number=old.number) != old for old in made):
            above = max((old.number for old in made), default=0) + 1
            made.append(replace(each, number=max(each.number, above)))
    return tuple(made[:RESOLUTIONS_MAX])


def last_remedy(resolutions: Iterable[Resolution]) -> Resolution | None:
    """The last decision that was more than another look."""
    return max((each for each in resolutions if each.action is not Remedy.RETRY), key=_number, default=None)


def in_all(
    known: Iterable[CarriedOut], attempt: Iterable[CarriedOut], now: datetime
) -> tuple[CarriedOut, ...]:
    """Add what an attempt has done by ``now`` to what is known.

    One that is repeated after a crash finds nothing left to do, so a count may be too low.
    """
    before = {each.number: each for each in known}
    return tuple(_together(before.get(each.number), each, now) for each in attempt)


def _together(known: CarriedOut | None, attempt: CarriedOut, now: datetime) -> CarriedOut:
    if known is not None and not attempt.rows:
        return known
    rows = attempt.rows + (known.rows if known is not None else 0)
    return CarriedOut(attempt.number, rows, now)


def _number(resolution: Resolution) -> int:
    return resolution.number
