"""Makes a failing case small: leaves out what it fails without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.twin.case import Case

TRIES_MAX = 150


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
            yield replace(case, steps=case.steps[:first] + case.steps[first + size :])
        size //= 2
    for number, statements in enumerate(case.branches):
        for index in reversed(range(len(statements))):
            kept = statements[:index] + statements[index + 1 :]
            yield replace(case, branches=(*case.branches[:number], kept, *case.branches[number + 1 :]))
