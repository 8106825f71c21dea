"""What guard rows have said in this pod: told by the MySQL side, asked for by the HTTP side.

All that is remembered is true for ever, because a guard row that was committed is: so it does not matter
which attempt of a call has found it out, nor what the application has made of the error.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeVar

from globaltx.modes.guard_row import Finding, Guarded

if TYPE_CHECKING:
    from globaltx.modes.tcc import Operation
    from globaltx.transaction.model import BranchId

Value = TypeVar("Value")
FINDINGS_MAX = 4096
"""How many are remembered, the oldest go first; the next attempt of a call finds out the same."""


class Guards:
    """The findings of one pod; ``owner`` is its app, as guard rows name it."""

    def __init__(self, namespace: str, app: str) -> None:
        self.owner = f"{namespace}/{app}"
        self._findings: OrderedDict[Guarded, Finding] = OrderedDict()
        self._began: OrderedDict[Guarded, int] = OrderedDict()
        self._torn: OrderedDict[Guarded, None] = OrderedDict()

    def found(self, call: Guarded, finding: Finding) -> None:
        """Remember what a guard row has said."""
        _remember(self._findings, call, finding)

    def began(self, call: Guarded, work: int) -> None:
        """Remember, until the call is answered, what it has committed."""
        _remember(self._began, call, work)

    def is_other(self, call: Guarded, work: int) -> bool:
        """Whether a call that is not answered yet has begun with another statement than this."""
        return self._began.get(call, work) != work

    def goes_on(self, call: Guarded, work: int) -> bool:
        """Whether a call whose row is there is no repeat, but wants to do more than it has committed.

        Its row says nothing from then on: the rest of its work was not done, and never will be.
        """
        if self.is_other(call, work):
            _remember(self._torn, call, None)
        return self.is_torn(call)

    def is_torn(self, call: Guarded) -> bool:
        """Whether a call did some of its work and wanted to do more behind that."""
        return call in self._torn

    def taken(self, branch: BranchId, operation: Operation) -> Finding:
        """What was said of a call that is answered now, and forget it; FIRST if nothing was."""
        if not (self._findings or self._began or self._torn):
            return Finding.FIRST  # nothing is guarded here
        return self.taken_of(Guarded.of(branch, operation))

    def taken_of(self, call: Guarded) -> Finding:
        """The same."""
        self._began.pop(call, None)
        finding = self._findings.pop(call, Finding.FIRST)
        return Finding.FIRST if self.is_torn(call) else finding


def _remember(known: OrderedDict[Guarded, Value], call: Guarded, value: Value) -> None:
    known[call] = value
    while len(known) > FINDINGS_MAX:
        known.popitem(last=False)
