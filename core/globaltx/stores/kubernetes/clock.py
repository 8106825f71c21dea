"""The API server's clock, heard from its answers: the one clock that all processes of a cluster share.

Deadlines, reservations and times to live are reckoned from what one process wrote down and another
reads. Where their own clocks differ by minutes, a transaction would be rolled back as soon as it has
begun, or long after what it reserved has run out. So those times are read here.

The header ``Date`` of an answer says whole seconds, and comes a moment late. Of the last answers the
one that came with the least delay counts, and a difference of up to two seconds is taken for none: clocks
that are kept in step are believed, and do not jump about.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IN_STEP = timedelta(seconds=2)
_GRAIN = timedelta(seconds=0.5)
"""Half of what ``Date`` cannot say."""
_ANSWERS = 8
"""So many are compared; a clock that is set anew is followed after as many."""


def own_utc() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


class ServerClock:
    """Says what time it is at the API server, as far as its answers have told."""

    def __init__(self, own: Callable[[], datetime] = own_utc) -> None:
        self._own = own
        self._heard: deque[timedelta] = deque(maxlen=_ANSWERS)
        self._ahead = timedelta()

    @property
    def ahead(self) -> timedelta:
        """How far the server's clock is ahead of ours; zero where they are in step, or nothing was heard."""
        return self._ahead

    def heard(self, date: str | None) -> None:
        """Take in the ``Date`` of an answer that came just now; what is none says nothing."""
        try:
            told = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if told.tzinfo is None:
            return
        self._heard.append(told + _GRAIN - self._own())
        ahead = max(self._heard)  # a delay makes it look smaller, never larger
        self._ahead = ahead if abs(ahead) > IN_STEP else timedelta()

    def now(self) -> datetime:
        """The time, in UTC."""
        return self._own() + self._ahead
