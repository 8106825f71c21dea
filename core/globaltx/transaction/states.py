"""The legal moves of a transaction and of a branch, as data.

A transaction is Active until its one outcome is taken. From then on it is carried
out, and it ends when every branch has ended the same way; or it is in Conflict, in
plain sight, until a person has decided about the branch that could not follow.

What must never happen is what the tables leave out: an outcome is never changed
(no row leads from Committing to RollingBack or back), an end is never left, and
nothing ends that was not decided.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What is to become of a transaction; taken once, never changed."""

    COMMIT = "Commit"
    ROLLBACK = "Rollback"


class State(StrEnum):
    """Where a transaction or a branch stands (the resources' ``status.state``)."""

    ACTIVE = "Active"
    COMMITTING = "Committing"
    ROLLING_BACK = "RollingBack"
    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"
    CONFLICT = "Conflict"


class Event(StrEnum):
    """What can happen to a transaction or a branch."""

    DECIDED_COMMIT = "DecidedCommit"
    DECIDED_ROLLBACK = "DecidedRollback"
    DONE_COMMIT = "DoneCommit"
    DONE_ROLLBACK = "DoneRollback"
    REFUSED = "Refused"


class IllegalMoveError(RuntimeError):
    """A bug: somebody asked for a move that the table does not have."""


MOVES: dict[State, dict[Event, State]] = {
    State.ACTIVE: {
        Event.DECIDED_COMMIT: State.COMMITTING,
        Event.DECIDED_ROLLBACK: State.ROLLING_BACK,
    },
    State.COMMITTING: {
        Event.DECIDED_COMMIT: State.COMMITTING,
        Event.DONE_COMMIT: State.COMMITTED,
        Event.REFUSED: State.CONFLICT,
    },
    State.ROLLING_BACK: {
        Event.DECIDED_ROLLBACK: State.ROLLING_BACK,
        Event.DONE_ROLLBACK: State.ROLLED_BACK,
        Event.REFUSED: State.CONFLICT,
    },
    State.CONFLICT: {
        Event.REFUSED: State.CONFLICT,
        Event.DONE_COMMIT: State.COMMITTED,
        Event.DONE_ROLLBACK: State.ROLLED_BACK,
    },
    State.COMMITTED: {Event.DONE_COMMIT: State.COMMITTED},
    State.ROLLED_BACK: {Event.DONE_ROLLBACK: State.ROLLED_BACK},
}

ENDS = frozenset({State.COMMITTED, State.ROLLED_BACK})
"""The states that are never left."""


def advance(state: State, event: Event) -> State:
    """Apply one move of the table.

    Raises:
        IllegalMoveError: the table has no such move.
    """
    try:
        return MOVES[state][event]
    except KeyError:
        message = f"no move from {state} by {event}"
        raise IllegalMoveError(message) from None


def decided(outcome: Outcome) -> Event:
    """The event that an outcome was taken."""
    return Event.DECIDED_COMMIT if outcome is Outcome.COMMIT else Event.DECIDED_ROLLBACK


def done(outcome: Outcome) -> Event:
    """The event that an outcome was carried out."""
    return Event.DONE_COMMIT if outcome is Outcome.COMMIT else Event.DONE_ROLLBACK


UNDER_WAY = {outcome: MOVES[State.ACTIVE][decided(outcome)] for outcome in Outcome}
"""Where an outcome leads."""
END_OF = {outcome: MOVES[UNDER_WAY[outcome]][done(outcome)] for outcome in Outcome}
"""Where it ends."""
