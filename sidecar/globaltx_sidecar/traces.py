"""Which trace belongs to which transaction, in this pod: for applications that know traces and no xids.

A statement tells its trace by a comment, nothing more. So within one pod a trace id must mean one thing: it
belongs to one xid, or to requests without any, from the first request that brings it until the pod has
forgotten it. A request that brings a trace id of somebody else's goes on with a new one, which is what
https://www.w3.org/TR/trace-context/ calls to restart a trace; so no statement is ever counted to another
transaction, however many there are in one trace.

A request that is a branch by itself (a try, a step, and the calls at its end) owns its trace alone, as that
call, where statements write guard rows by it.

A trace is remembered for a while after its last request: a statement that comes late belongs to a
transaction that has ended, and is refused by it, instead of passing without one.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from globaltx.modes.guard_row import Guarded
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from multidict import CIMultiDict

    from globaltx.transaction.xid import Xid

PARENT_HEADER = "traceparent"
STATE_HEADER = "tracestate"
LINGER_SECONDS = 600.0
"""How long a trace keeps its owner when its last request here is over."""
OVER_MAX = 16 * 1024
"""How many traces are remembered whose requests are over, the oldest go first; those under way all are."""
_SAMPLED = 1
_PARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?",
    re.ASCII,
)
_INVALID_VERSION = "ff"
_FIRST_VERSION = "00"


Owner: TypeAlias = "Xid | Guarded | None"
"""Whom a trace belongs to: a transaction, one call of the application, or requests without any."""


@dataclass(frozen=True, slots=True)
class Parent:
    """What a `traceparent` says."""

    trace: str
    span: str
    flags: int

    def __str__(self) -> str:
        """As it stands in the header, of the version that is spoken here."""
        return f"{_FIRST_VERSION}-{self.trace}-{self.span}-{self.flags:02x}"


def read_parent(headers: CIMultiDict[str]) -> Parent | None:
    """The trace that a request comes from; None if it names none, or not as the standard says."""
    values = headers.getall(PARENT_HEADER, ())
    found = _PARENT.fullmatch(values[0].strip()) if len(values) == 1 else None
    if found is None or found["version"] == _INVALID_VERSION:
        return None
    if found["more"] and found["version"] == _FIRST_VERSION:
        return None
    if not (int(found["trace"], 16) and int(found["span"], 16)):
        return None
    return Parent(found["trace"], found["span"], int(found["flags"], 16))


@dataclass(slots=True)
class _Owned:
    """Whom a trace belongs to, and how many requests of it are under way."""

    by: Owner
    under_way: int = 0


class Traces:
    """The traces of one pod; ``now`` tells seconds of a clock that only goes forward.

    ``of_calls``: there are guard rows, so that calls own their traces.
    """

    def __init__(self, now: Callable[[], float], *, of_calls: bool = False) -> None:
        self.of_calls = of_calls
        self._now = now
        self._owners: dict[str, _Owned] = {}
        self._over: OrderedDict[str, float] = OrderedDict()
        """Of those whose requests are over, when each is forgotten."""

    def xid_of(self, trace: str) -> Xid | None:
        """The transaction that a trace (lower case) belongs to here."""
        owner = self._owner(trace)
        return None if isinstance(owner, Guarded) else owner

    def call_of(self, trace: str) -> Guarded | None:
        """The call of the application that a trace (lower case) belongs to here."""
        owner = self._owner(trace)
        return owner if isinstance(owner, Guarded) else None

    def _owner(self, trace: str) -> Owner:
        found = self._owners.get(trace)
        return None if found is None or self._is_forgotten(trace) else found.by

    @contextmanager
    def entered(self, headers: CIMultiDict[str], owner: Owner) -> Iterator[None]:
        """Keep the trace of a request for its owner, while it is under way.

        ``headers`` are those that it goes on with: with an owner they name a trace that is sampled, since
        who does not record a statement does not comment it either. A trace of somebody else's is replaced.
        """
        self._forget()
        parent = read_parent(headers)
        if isinstance(owner, Guarded) and not self.of_calls:
            owner = None
        if parent is None and owner is None:
            yield  # what the application begins by itself nobody else knows
            return
        if parent is None or not self._is_free(parent.trace, owner):
            parent = Parent(secrets.token_hex(16), secrets.token_hex(8), parent.flags if parent else 0)
            headers.popall(STATE_HEADER, None)
        if owner is not None:
            parent = Parent(parent.trace, parent.span, parent.flags | _SAMPLED)
        headers[PARENT_HEADER] = str(parent)
        found = self._owners.setdefault(parent.trace, _Owned(owner))
        found.under_way += 1
        self._over.pop(parent.trace, None)
        try:
            yield
        finally:
            found.under_way -= 1
            if not found.under_way:
                self._over[parent.trace] = self._now() + LINGER_SECONDS

    def _is_free(self, trace: str, owner: Owner) -> bool:
        found = self._owners.get(trace)
        return found is None or found.by == owner

    def _is_forgotten(self, trace: str) -> bool:
        until = self._over.get(trace)
        return until is not None and until <= self._now()

    def _forget(self) -> None:
        """Drop those whose time is over, and the oldest of too many; each is looked at once."""
        while self._over:
            trace, until = next(iter(self._over.items()))
            if until > self._now() and len(self._over) <= OVER_MAX:
                return
            del self._over[trace]
            del self._owners[trace]


def owned(traces: Traces | None, headers: CIMultiDict[str], owner: Owner) -> AbstractContextManager[None]:
    """Keep the trace of a request for its owner, where traces matter."""
    return nullcontext() if traces is None else traces.entered(headers, owner)
