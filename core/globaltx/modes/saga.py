"""Saga: a step's work stands from the beginning, and Rollback asks the application to take it back.

Phase one leaves the work and, kept with the branch before the step was let through, the step's own
request. So whatever became of the step (its answer was lost, it answered an error) there is a branch, and

* Commit asks for nothing: what the steps did stands;
* Rollback asks for the call *compensate*, repeated until the application answers that it is done.

Steps are compensated in the order that each of them asks for (`globaltx.transaction.calls.Order`).
Nobody conducts it: whoever is about to compensate a step reads all branches of the transaction, and
waits while some that come first have not ended, of whatever app they are (`waits_for`). Each reader of the
same branches comes to the same answer. The order of completion is the order of places, which are counted and
not timed: who notes a step takes the place above all that are noted (`place`), so clocks do not matter. Two
steps that were done side by side may have the same place, and then none of them waits for the other.

Steps that wait for each other in a circle (apps can declare that, each its own half) would wait for
ever: they do not wait for each other. A step in Conflict is waited for, because it has not ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from globaltx.modes import tcc
from globaltx.modes.tcc import Call, Operation, conflict
from globaltx.transaction.calls import Order
from globaltx.transaction.model import Mode, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from globaltx.transaction.calls import Calls, Step
    from globaltx.transaction.model import Branch, BranchId

__all__ = ["STANDS", "conflict", "duty", "ordered", "place", "place_of", "reached", "stands", "waits_for"]

STANDS = Settlement(State.COMMITTED, str(State.COMMITTED), "what the step did stands")
"""The end of a step that was let through, when its transaction commits."""

_T = TypeVar("_T")


def duty(branch: Branch) -> Call | Settlement:
    """Say what the outcome asks of a step that was told one: a compensation, or nothing."""
    if branch.outcome is Outcome.COMMIT and branch.started:
        return STANDS
    asked = tcc.duty(branch)
    return replace(asked, operation=Operation.COMPENSATE) if isinstance(asked, Call) else asked


def ordered(calls: Calls) -> bool:
    """Whether a branch may have to wait for others."""
    return calls.step is not None and calls.step.order is not Order.TOGETHER


def place(branches: Iterable[Branch]) -> int:
    """The place of a step that is done now, given all branches of its transaction."""
    return max((each.completed for each in branches), default=0) + 1


def place_of(mine: BranchId, branches: Iterable[Branch]) -> int:
    """The same of one of them, which keeps the place of the first time that it was done."""
    every = tuple(branches)
    return next((each.completed for each in every if each.id == mine), 0) or place(every)


def stands(mode: Mode, outcome: str | None, *, started: bool) -> bool:
    """Whether a branch is a step that was let through, of a transaction that commits."""
    return mode is Mode.SAGA and outcome == Outcome.COMMIT and started


def waits_for(mine: BranchId, branches: Iterable[Branch]) -> tuple[BranchId, ...]:
    """The branches that are compensated before one that asks for a call, and have not ended; sorted."""
    waiting = [each for each in branches if _to_be_called(each)]
    first = {each.id: {other.id for other in waiting if _before(other, each)} for each in waiting}
    return tuple(sorted(each for each in first.get(mine, ()) if mine not in reached(first, each)))


def reached(edges: Mapping[_T, Collection[_T]], start: _T) -> set[_T]:
    """What can be reached from one in one step or more."""
    found: set[_T] = set()
    left = list(edges.get(start, ()))
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left.extend(edges.get(each, ()))
    return found


def _to_be_called(branch: Branch) -> bool:
    return branch.mode is Mode.SAGA and not branch.settled and isinstance(duty(branch), Call)


def _before(other: Branch, mine: Branch) -> bool:
    """Whether another step is compensated before mine, as mine asks for."""
    step, theirs = _step(mine), _step(other)
    if step is None or other.id == mine.id:
        return False
    if step.order is Order.REVERSE:
        return bool(mine.completed) and (not other.completed or other.completed > mine.completed)
    return step.order is Order.DEPENDENCIES and theirs is not None and step.name in theirs.depends_on


def _step(branch: Branch) -> Step | None:
    return None if branch.calls is None else branch.calls.step
