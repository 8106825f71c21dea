"""Golden scenarios of the saga: ``tests/scenarios/saga/*.txt``.

A block tells of steps and of what becomes of them, and after ``----`` stands what may be called then.
``REWRITE=1 pytest tests/modes`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.modes import saga, tcc
from globaltx.modes.tcc import Call
from globaltx.transaction.calls import Calls, Order, Step
from globaltx.transaction.model import Branch, Mode
from globaltx.transaction.states import Outcome, State
from tests.golden import check
from tests.modes.stage import XID

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "scenarios" / "saga"
FILES = sorted(FOLDER.glob("*.txt"))
ORDERS = {"reverse": Order.REVERSE, "dependencies": Order.DEPENDENCIES, "together": Order.TOGETHER}


def step(name: str, order: Order, depends_on: tuple[str, ...] = (), completed: int = 0) -> Branch:
    calls = Calls("", f"/{name}/compensate", step=Step(name, order, depends_on))
    branch = tcc.branch_id(XID, f"{name}s", name, "")
    return Branch(branch, Mode.SAGA, calls=calls, started=True, completed=completed)


class Saga:
    """The steps of one transaction by name."""

    def __init__(self) -> None:
        self.steps: dict[str, Branch] = {}

    def play(self, line: str) -> Iterator[str]:
        command, *words = line.split()
        yield from getattr(self, command)(*words)

    def step(self, name: str, order: str, depends_on: str = "") -> Iterator[str]:
        """``step NAME ORDER [DEPENDS_ON,...]``: let through, and not answered yet."""
        self.steps[name] = step(name, ORDERS[order], tuple(filter(None, depends_on.split(","))))
        yield from ()

    def joined(self, name: str) -> Iterator[str]:
        """Registered, and not let through."""
        self.steps[name] = replace(self.steps[name], started=False)
        yield from ()

    def answered(self, name: str) -> Iterator[str]:
        place = saga.place(self.steps.values())
        self.steps[name] = replace(self.steps[name], completed=place)
        yield from ()

    def answered_together(self, *names: str) -> Iterator[str]:
        place = saga.place(self.steps.values())
        for name in names:
            self.steps[name] = replace(self.steps[name], completed=place)
        yield from ()

    def outcome(self, word: str) -> Iterator[str]:
        self.steps = {name: replace(each, outcome=Outcome(word)) for name, each in self.steps.items()}
        yield from self.now()

    def ends(self, name: str, word: str) -> Iterator[str]:
        self.steps[name] = replace(self.steps[name], state=State(word))
        yield from self.now()

    def now(self) -> Iterator[str]:
        for name, each in self.steps.items():
            if not each.settled:
                yield f"{name}: {self.told(each)}"

    def told(self, branch: Branch) -> str:
        duty = saga.duty(branch)
        if not isinstance(duty, Call):
            return f"{duty.state}: {duty.message}"
        first = [tcc.route_of(each) for each in saga.waits_for(branch.id, self.steps.values())]
        return f"waits for {', '.join(first)}" if first else f"call {duty.operation} {duty.path}"


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    check(file, Saga())


NAMES = ("a", "b", "c", "d", "e")
steps = st.lists(
    st.tuples(st.sampled_from(Order), st.sets(st.sampled_from(NAMES)), st.integers(0, 4)),
    min_size=1,
    max_size=len(NAMES),
).map(
    lambda found: [
        replace(step(name, order, tuple(sorted(on)), place), outcome=Outcome.ROLLBACK)
        for name, (order, on, place) in zip(NAMES, found, strict=False)
    ]
)


def compensated(branches: list[Branch]) -> list[set[str]]:
    """Which steps are called in each round, when all that may be called are called and end."""
    rounds = []
    left = {each.id: each for each in branches}
    while open_ := [each for each in left.values() if not each.settled]:
        now = [each for each in open_ if not saga.waits_for(each.id, left.values())]
        assert now, f"{len(open_)} steps wait for each other"
        rounds.append({tcc.route_of(each.id) for each in now})
        left |= {each.id: replace(each, state=State.ROLLED_BACK) for each in now}
    return rounds


@given(steps)
def test_no_step_waits_for_ever(branches: list[Branch]) -> None:
    assert set().union(*compensated(branches)) == {tcc.route_of(each.id) for each in branches}


@given(st.permutations(NAMES))
def test_what_was_done_last_is_compensated_first(done: list[str]) -> None:
    branches: list[Branch] = []
    for name in done:
        branches.append(step(name, Order.REVERSE, completed=saga.place(branches)))
    assert compensated(branches) == [{name} for name in reversed(done)]


@given(st.permutations(NAMES), st.data())
def test_what_depends_on_a_step_is_compensated_before_it(done: list[str], data: st.DataObject) -> None:
    on = {name: data.draw(st.sets(st.sampled_from(done[:index] or ["-"]))) for index, name in enumerate(done)}
    rounds = compensated([step(name, Order.DEPENDENCIES, tuple(on[name])) for name in done])
    at = {name: index for index, names in enumerate(rounds) for name in names}
    assert all(at[name] < at[before] for name in done for before in on[name] if before in at)
