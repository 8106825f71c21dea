"""Makes a failing case small: leaves out what it fails without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.twin.case import Case, Step

TRIES_MAX = 600


def reduced(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Give the smallest case that still fails, as far as `TRIES_MAX` tries lead."""
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(case):
            if tries == TRIES_MAX:
                return case
            tries += 1
            if fails(candidate):
                case, smaller = candidate, True
                break
    return case


def _candidates(case: Case) -> Iterator[Case]:
    """First without many steps, then without one, then without rows, at last without tables."""
    count = len(case.steps)
    size = count // 2
    while size:
        for first in range(0, count, size):
            left_out = [step for step in case.steps[first : first + size] if not _is_of_an_xid(step)]
            if left_out:
                yield replace(case, steps=tuple(step for step in case.steps if step not in left_out))
        size //= 2
    for number, statements in enumerate(case.branches):
        for index in reversed(range(len(statements))):
            kept = statements[:index] + statements[index + 1 :]
            yield replace(case, branches=(*case.branches[:number], kept, *case.branches[number + 1 :]))


def _is_of_an_xid(step: Step) -> bool:
    """Without it what follows would be no part of the global transaction: another fault, or none."""
    return "@globaltx_xid" in step.sql
