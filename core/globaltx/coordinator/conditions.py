"""What a transaction's status says, as a value and as sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.transaction.declared import StepState
from globaltx.transaction.states import State
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from globaltx.transaction.model import Branch, Decision

_NAMED_MAX = 3
"""How many branches a sentence names; a transaction can have hundreds."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """How a step of a declared saga stands; ``problem`` tells of its last call that was not done."""

    name: str
    state: StepState
    problem: str = ""


class NotificationState(StrEnum):
    """How a notification stands."""

    PENDING = "Pending"
    DELIVERED = "Delivered"
    GIVEN_UP = "GivenUp"


@dataclass(frozen=True, slots=True)
class NotificationStatus:
    """A notification, as the transaction's status tells; ``problem`` is of the last attempt that failed."""

    name: str
    state: NotificationState = NotificationState.PENDING
    attempts: int = 0
    problem: str = ""

    @property
    def over(self) -> bool:
        """Whether there are no more attempts."""
        return self.state is not NotificationState.PENDING


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a transaction; two equal ones need no write."""

    state: State = State.ACTIVE
    message: str = ""
    total: int = 0
    settled: int = 0
    decided_at: datetime | None = None
    settled_at: datetime | None = None
    resolutions: int = 0
    """How many decisions of people were told."""
    resolved: bool = False
    """It ended, and not all rows went by the outcome alone."""
    steps: tuple[StepStatus, ...] = ()
    """Of a declared saga, in the order in which they are declared."""
    notifications: tuple[NotificationStatus, ...] = ()

    @property
    def reason(self) -> Reason:
        """The reason of the condition ``Succeeded``: the state's own word, unless people have decided."""
        return Reason.RESOLVED_BY_PERSON if self.resolved else Reason(self.state)

    @property
    def telling(self) -> bool:
        """Whether somebody is still to be told the outcome."""
        return not all(each.over for each in self.notifications)

    @property
    def over(self) -> bool:
        """Whether nothing more will become of it."""
        return self.settled_at is not None and not self.telling

    @property
    def succeeded(self) -> bool | None:
        """The condition ``Succeeded``; None is Unknown."""
        return succeeded(self.state)


def succeeded(state: State) -> bool | None:
    """What ``Succeeded`` says of a state: None (Unknown) while it is under way."""
    if state in {State.ACTIVE, State.COMMITTING, State.ROLLING_BACK}:
        return None
    return state is State.COMMITTED


def why(decision: Decision) -> str:
    """Say why an outcome was taken, and by whom."""
    told = decision.message or meaning(decision.reason)
    by = f" (by {decision.by})" if decision.by and decision.by not in told else ""
    return f"{decision.outcome}, {decision.reason}: {told.rstrip('.')}{by}"


def meaning(reason: str) -> str:
    """The sentence of a reason; a person may have set one that is not ours."""
    return SENTENCES[Reason(reason)] if reason in Reason.__members__.values() else ""


def waiting_for(branches: Sequence[Branch]) -> str:
    """Say which branches have not carried the outcome out yet."""
    return f"Waiting for {_named(branches)}. "


def steps_so_far(steps: Sequence[StepStatus]) -> str:
    """Say how far a declared saga has come, and what keeps it."""
    done = sum(each.state is StepState.DONE for each in steps)
    kept = [
        f"{each.name}: {each.problem}" for each in steps if each.problem and each.state is not StepState.DONE
    ]
    more = f"; and {len(kept) - _NAMED_MAX} more" if len(kept) > _NAMED_MAX else ""
    told = f" ({'; '.join(kept[:_NAMED_MAX])}{more})" if kept else ""
    return f"{done} of {len(steps)} steps are done{told}."


def in_conflict(branches: Sequence[Branch]) -> str:
    """Say which branches need a person, and why."""
    told = "; ".join(f"{_name(each)}: {each.reason}: {each.message}" for each in branches[:_NAMED_MAX])
    more = f"; and {len(branches) - _NAMED_MAX} more" if len(branches) > _NAMED_MAX else ""
    return f"A person must decide about {told}{more}. "


def resolved(branches: Sequence[Branch]) -> str:
    """Say what people have decided about branches, when all has ended."""
    told = "; ".join(f"{_name(each)}: {each.message}" for each in branches[:_NAMED_MAX])
    more = f"; and {len(branches) - _NAMED_MAX} more" if len(branches) > _NAMED_MAX else ""
    return f"{Reason.RESOLVED_BY_PERSON}: {told}{more}. " if branches else ""


def _named(branches: Sequence[Branch]) -> str:
    named = ", ".join(_name(each) for each in branches[:_NAMED_MAX])
    return f"{named} and {len(branches) - _NAMED_MAX} more" if len(branches) > _NAMED_MAX else named


def _name(branch: Branch) -> str:
    return f"{branch.id.app}/{branch.id.resource}"
