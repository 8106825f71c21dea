"""What guard rows have said in this pod: told by the MySQL side, asked for by the HTTP side.

All that is remembered is true for ever, because a guard row that was committed is: so it does not matter
which attempt of a call has found it out, nor what the application has made of the error.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from globaltx.modes.guard_row import Finding, Guarded

if TYPE_CHECKING:
    from globaltx.modes.tcc import Operation
    from globaltx.transaction.model import BranchId

FINDINGS_MAX = 4096
"""How many are remembered, the oldest go first; the next attempt of a call finds out the same."""


class Guards:
    """The findings of one pod; ``owner`` is its app, as guard rows name it."""

    def __init__(self, namespace: str, app: str) -> None:
        self.owner = f"{namespace}/{app}"
        self._findings: OrderedDict[Guarded, Finding] = OrderedDict()

    def found(self, call: Guarded, finding: Finding) -> None:
        """Remember what a guard row has said."""
        self._findings[call] = finding
        while len(self._findings) > FINDINGS_MAX:
            self._findings.popitem(last=False)

    def taken(self, branch: BranchId, operation: Operation) -> Finding:
        """What was said of a call, and forget it; FIRST if nothing was."""
        return self._findings.pop(Guarded.of(branch, operation), Finding.FIRST)
