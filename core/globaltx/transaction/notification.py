"""Who is told an outcome by HTTP, and how often that is tried.

What is wanted stands in the transaction and never changes. Once the outcome is taken each of them becomes
a branch of the initiator's app, which holds all that whoever sends it needs to know.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.transaction.states import Outcome
from globaltx.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

NOTIFY_MAX = 8
NOTIFY_NAME_LENGTH_MAX = 40
PAUSES_MAX = 16
PAUSE_SECONDS_MAX = 3600
NOTIFY_SECONDS_MAX = 60
DEFAULT_NOTIFY_TIMEOUT = timedelta(seconds=5)
DEFAULT_PAUSES = tuple(timedelta(seconds=each) for each in (5, 30, 120, 600))
"""Five attempts within 13 minutes: a restart of the receiver, or of what stands before it, fits in."""


@dataclass(frozen=True, slots=True)
class Notify:
    """A wish to be told: ``name`` is unique in the transaction, ``pauses`` are those between the attempts."""

    name: str
    url: str
    outcomes: frozenset[Outcome] = frozenset(Outcome)
    pauses: tuple[timedelta, ...] = DEFAULT_PAUSES
    timeout: timedelta = DEFAULT_NOTIFY_TIMEOUT


@dataclass(frozen=True, slots=True)
class Notification:
    """What is sent: ``reason`` and ``decided_at`` are the outcome's, so that each attempt says the same."""

    url: str
    pauses: tuple[timedelta, ...]
    timeout: timedelta
    reason: str
    decided_at: datetime
    policy: str = ""

    @property
    def attempts_max(self) -> int:
        """How many attempts there are."""
        return len(self.pauses) + 1

    @property
    def lasts(self) -> timedelta:
        """How long all attempts take at most."""
        return sum(self.pauses, self.timeout * self.attempts_max)
