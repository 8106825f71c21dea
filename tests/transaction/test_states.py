from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from globaltx.transaction.states import (
    ENDS,
    MOVES,
    Event,
    IllegalMoveError,
    Outcome,
    State,
    advance,
    decided,
    done,
)

DIAGRAM = Path(__file__).parents[2] / "docs" / "states.md"


def reachable(start: State) -> set[State]:
    found, todo = set[State](), [start]
    while todo:
        state = todo.pop()
        if state not in found:
            found.add(state)
            todo += MOVES[state].values()
    return found


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_what_the_table_leaves_out_is_a_bug(state: State, event: Event) -> None:
    if event in MOVES[state]:
        assert advance(state, event) is MOVES[state][event]
    else:
        with pytest.raises(IllegalMoveError, match=f"no move from {state} by {event}"):
            advance(state, event)


def test_every_state_is_reached_and_has_a_row() -> None:
    assert reachable(State.ACTIVE) == set(State) == set(MOVES)


def test_an_end_is_never_left() -> None:
    assert all(reachable(end) == {end} for end in ENDS)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_without_a_conflict_an_outcome_leads_to_its_own_end_only(outcome: Outcome) -> None:
    state = advance(State.ACTIVE, decided(outcome))
    other = next(each for each in Outcome if each is not outcome)
    assert decided(other) not in MOVES[state]
    assert done(other) not in MOVES[state]
    assert advance(state, done(outcome)) in ENDS


def test_nothing_ends_undecided() -> None:
    assert not ENDS & set(MOVES[State.ACTIVE].values())


def test_the_diagram_in_the_docs_is_drawn_from_the_table() -> None:
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.ACTIVE}"]
    lines += [
        f"    {state} --> {target}: {event}"
        for state, moves in MOVES.items()
        for event, target in moves.items()
        if target is not state
    ]
    lines += [f"    {end} --> [*]" for end in sorted(ENDS)] + ["```"]
    assert "\n".join(lines) in DIAGRAM.read_text(), "put this into docs/states.md:\n" + "\n".join(lines)
