"""A global transaction and its branches as values."""

from __future__ import annotations

import hashlib
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.transaction.calls import Calls
    from globaltx.transaction.conflict import CarriedOut, Resolution, RowConflict
    from globaltx.transaction.declared import Progress, SagaPlan
    from globaltx.transaction.notification import Notification, Notify
    from globaltx.transaction.xid import Xid

MESSAGE_LENGTH_MAX = 1024
APP_LENGTH_MAX = 63
RESOURCE_LENGTH_MAX = 63


class Mode(StrEnum):
    """How a branch is undone."""

    AT = "AT"
    TCC = "TCC"
    TCD = "TCD"
    SAGA = "Saga"
    XA = "XA"
    MESSAGE = "Message"
    NOTIFY = "Notify"
    """It changes nothing, so there is nothing to undo: somebody is told the outcome."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The one outcome of a transaction, and who took it why.

    ``reason`` is one of ``globaltx.coordinator.reasons``; ``message`` a sentence for people.
    """

    outcome: Outcome
    reason: str
    message: str = ""
    by: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class GlobalTransaction:
    """One business operation across services."""

    xid: Xid
    initiator: str
    timeout: timedelta
    mode: Mode = Mode.AT
    policy: str = ""
    ttl: timedelta = timedelta(hours=1)
    begun_at: datetime | None = None
    decision: Decision | None = None
    state: State = State.ACTIVE
    settled_at: datetime | None = None
    begun_by: str = ""
    """Tells one `begin` of the same xid from another, where an xid is made from a request's own id."""
    saga: SagaPlan | None = None
    """Set where a saga was declared as a whole; its branches are the steps, and one is made for each."""
    pivoting: bool = False
    """The saga's pivot is being called: from then on only its answer, or a person, decides."""
    notify: tuple[Notify, ...] = ()
    """Who is told the outcome."""

    def same_begin(self, other: GlobalTransaction) -> bool:
        """Whether another is the same, begun once more by who began it."""
        return (self.initiator, self.begun_by) == (other.initiator, other.begun_by)

    @property
    def deadline(self) -> datetime | None:
        """When an undecided transaction is rolled back; None until the store has stamped its birth."""
        return None if self.begun_at is None else self.begun_at + self.timeout


@dataclass(frozen=True, slots=True, order=True)
class BranchId:
    """One branch: what one app does in one resource under one xid."""

    xid: Xid
    app: str
    resource: str

    @property
    def name(self) -> str:
        """The name of the Branch resource.

        App and resource are hashed with a separator that neither can hold, so that
        apps whose names are prefixes of each other can never share a branch.
        """
        return f"{self.xid.name}-{_digest(self.app, self.resource)}"


@lru_cache(1024)
def _digest(app: str, resource: str) -> str:
    return hashlib.sha256(f"{app}\0{resource}".encode()).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as a store holds it; ``outcome`` is None until it was told.

    ``calls`` is what modes that work by HTTP leave at registration; ``started`` whether the work was
    let through (`globaltx.stores.base.Store.start`); ``completed`` is its place among the steps that
    were done, 1 for the first; 0 where it is not known to be done.
    ``resolutions`` are what people have decided about its conflict, in the order of their numbers;
    ``carried_out`` is what has become of those.
    """

    id: BranchId
    mode: Mode = Mode.AT
    outcome: Outcome | None = None
    state: State = State.ACTIVE
    reason: str = ""
    message: str = ""
    calls: Calls | None = None
    started: bool = False
    resolutions: tuple[Resolution, ...] = ()
    carried_out: tuple[CarriedOut, ...] = ()
    completed: int = 0
    progress: Progress | None = None
    """Set where it is a step of a declared saga, which whoever conducts the saga carries out."""
    notification: Notification | None = None
    """Set where somebody is told the outcome; it is registered after that, and nothing waits for it."""
    attempts: int = 0
    """How many attempts at the notification are written down."""

    @property
    def settled(self) -> bool:
        """Whether the outcome was carried out here."""
        return self.state in ENDS


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a branch ended, or why it is in Conflict (``state`` is an end or CONFLICT).

    ``conflicts`` are the first of ``conflicts_total`` rows that need a person. Of a notification ``attempts``
    are told too, also while it is under way (``state`` is COMMITTING or ROLLING_BACK).
    """

    state: State
    reason: str
    message: str = ""
    conflicts: tuple[RowConflict, ...] = ()
    conflicts_total: int = 0
    carried_out: tuple[CarriedOut, ...] = ()
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A transaction with all the branches that a consistent read found."""

    transaction: GlobalTransaction
    branches: tuple[Branch, ...] = field(default=())


def shorten(message: str, length_max: int = MESSAGE_LENGTH_MAX) -> str:
    """Cut a message to what a resource holds, so that what is read back equals what was meant."""
    return message if len(message) <= length_max else message[: length_max - 3] + "..."
