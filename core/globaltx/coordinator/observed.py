"""What the operator has gathered about one transaction, and what is to be done next."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.coordinator.conditions import Status
from globaltx.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from globaltx.coordinator.reasons import Reason
    from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Settlement
    from globaltx.transaction.states import Outcome


@dataclass(frozen=True, slots=True)
class ObservedBranch:
    """A branch and what its resource carries besides."""

    branch: Branch
    held: bool = True
    """The finalizer is on it."""
    owned: bool = False
    """It names its transaction as owner."""
    deleting: bool = False
    born_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """A transaction with the branches that are known of it.

    What a cache tells may be old, in one direction only: an outcome that is seen was taken,
    a branch that is seen settled is settled, but branches may be missing. Only with
    ``complete`` none is: they were listed consistently *after* the outcome was seen.
    """

    transaction: GlobalTransaction
    status: Status = field(default_factory=Status)
    branches: tuple[ObservedBranch, ...] = ()
    complete: bool = False
    held: bool = True
    deleting: bool = False
    notified: tuple[ObservedBranch, ...] = ()
    """The notifications among the branches, once they were set apart (``globaltx.coordinator.notifying``)."""
    leaving: bool = False
    """The namespace is being deleted: nothing more can be made in it."""

    @property
    def deadline(self) -> datetime | None:
        """When it is rolled back if undecided: at its own deadline, or before a reservation could run out."""
        begun_at, deadline = self.transaction.begun_at, self.transaction.deadline
        if begun_at is None or deadline is None:
            return None
        calls = (each.branch.calls for each in self.branches)
        kept = (each.reservation for each in calls if each is not None)
        return min([deadline, *(begun_at + each.decide_within for each in kept if each is not None)])


class Weight(StrEnum):
    """The type of a Kubernetes Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event at the transaction, or at one of its branches."""

    weight: Weight
    reason: Reason | str
    message: str
    branch: BranchId | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """Tell a branch its outcome (None: it knows it) and its owner, in one patch."""

    branch: BranchId
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """Say at a branch why it stands where it does, without moving it."""

    branch: BranchId
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done next, carried out in the order of the fields.

    A crash between any two of them loses nothing: the next pass finds what is missing. Notices
    come before the status, because the status is what keeps them from being told again.
    """

    take: Decision | None = None
    """Take the outcome by compare-and-set, then decide again with what stands."""
    register: tuple[Branch, ...] = ()
    """Make the branches that tell somebody the outcome; those that are there stay as they are."""
    stamp: tuple[Stamp, ...] = ()
    complete: bool = False
    """List the branches consistently, then decide again."""
    notices: tuple[Notice, ...] = ()
    reports: tuple[Report, ...] = ()
    give_up: tuple[tuple[BranchId, Settlement], ...] = ()
    """End notifications that nobody has sent in time."""
    status: Status | None = None
    release_branches: tuple[BranchId, ...] = ()
    """Take the finalizer off them."""
    release: bool = False
    """Take the finalizer off the transaction."""
    forget: bool = False
    requeue_after: timedelta | None = None

    @property
    def again(self) -> bool:
        """Whether to decide again at once."""
        return self.take is not None or self.complete
