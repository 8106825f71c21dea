"""The invariant, in every order in which its actors can move.

For each xid, every branch ends with the xid's one outcome. No crash of the operator between any two
of its writes, no cache however old, no late branch changes that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from globaltx.transaction.states import ENDS, Outcome, State
from tests.coordinator.world import Process, World, begin, end_of, next_worlds

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.timeout(900)  # thousands of worlds, on whatever machine

WORKING = {Process.JOINED, Process.WORKED}


def check(world: World, way: Iterable[str] = ()) -> None:
    """What must hold in every world."""
    server, told = world.server, " > ".join(way)
    outcome = None if server.decision is None else server.decision.outcome
    for known in server.branches:
        if known is not None and known.branch.outcome is not None:
            assert known.branch.outcome is outcome, told
    if server.exists and server.status.state not in ENDS:
        return
    assert outcome is not None, told
    for app, stage in world.processes:
        if stage in WORKING:
            assert server.carried[app] is end_of(outcome), f"{told}: ended before {app} has"


def explore(first: World) -> tuple[int, int]:
    """Visit every world that can be reached; count them, and those in which nothing is left to do."""
    seen, front, ends = {first}, [first], 0
    while front:
        world = front.pop()
        check(world)
        following = {after for _, after in next_worlds(world)} - {world}
        ends += not following
        if not following:
            assert not world.server.exists, "everything has come to rest, and it was not forgotten"
        new = following - seen
        seen |= new
        front.extend(new)
    return len(seen), ends


COMMIT, ROLLBACK = Outcome.COMMIT, Outcome.ROLLBACK
STARTS = {
    "the initiator commits": begin((0,), outcomes=(COMMIT,)),
    "the initiator rolls back": begin((0,), outcomes=(ROLLBACK,)),
    "the initiator commits at the deadline": begin((0,), outcomes=(COMMIT,), late=True),
    "nobody decides": begin((0,), outcomes=(), late=True),
    "it is deleted": begin((0,), outcomes=(COMMIT,), deletable=True),
    "two processes of one app": begin((0, 0), outcomes=(ROLLBACK,)),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_every_order_of_steps(start: World) -> None:
    worlds, ends = explore(start)
    assert worlds > 500
    assert ends > 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_order_with_two_operators_and_four_processes(data: st.DataObject) -> None:
    """Two leaders at once (one was stopped and woke up again) change nothing."""
    world = begin((0, 0, 1, 1), operators=2, deletable=True, late=data.draw(st.booleans(), label="late"))
    way: list[str] = []
    for _ in range(data.draw(st.integers(1, 120), label="steps")):
        steps = [(name, after) for name, after in next_worlds(world) if after != world]
        if not steps:
            break
        name, world = data.draw(st.sampled_from(steps), label="step")
        way.append(name)
        check(world, way)
    finish(world, way)


def finish(world: World, way: list[str]) -> None:
    """From anywhere, undisturbed, it comes to its end: nothing waits for ever."""
    for _ in range(400):
        steps = [
            (name, after)
            for name, after in next_worlds(world)
            if after != world and "crashes" not in name and "deletes" not in name
        ]
        if not steps:
            break
        name, world = min(steps, key=lambda step: rank(step[0]))
        way.append(name)
        check(world, way)
    assert not world.server.exists or world.server.status.state is State.CONFLICT, " > ".join(way)


def rank(name: str) -> tuple[bool, bool, str]:
    """News first, decisions last, so that an operator does not decide on the same for ever."""
    return name.endswith("decides"), "operator" not in name, name
