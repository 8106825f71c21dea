"""The protocol that every store implements, and what each call guarantees when it fails half-way.

The order that the invariant rests on: a branch is durable before its local commit
(`join`), and `join` is refused once the outcome is durable (`decide`). Whoever carries
the outcome out therefore sees every branch that can exist.

A call that raises `StoreUnavailableError` may or may not have happened. Each of them may be
repeated: a repeat does what the first did, or finds it done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from globaltx.transaction.calls import Calls
    from globaltx.transaction.model import (
        Branch,
        BranchId,
        Decision,
        GlobalTransaction,
        Mode,
        Settlement,
        Snapshot,
    )
    from globaltx.transaction.xid import Xid


class StoreError(Exception):
    """Base of what a store raises."""


class StoreUnavailableError(StoreError):
    """A passing fault: the store did not answer, the call may or may not have happened. Repeat it."""


class UnknownTransactionError(StoreError):
    """No store knows this xid: it never began, or it ended and was forgotten."""

    def __init__(self, xid: Xid) -> None:
        super().__init__(f"no global transaction {xid} exists: it never began, or it ended and was forgotten")
        self.xid = xid


class AlreadyDecidedError(StoreError):
    """A branch came too late: the outcome of its transaction is taken."""

    def __init__(self, xid: Xid, decision: Decision) -> None:
        super().__init__(f"global transaction {xid} is already decided: {decision.outcome}")
        self.xid = xid
        self.decision = decision


class XidTakenError(StoreError):
    """`begin` met a transaction of the same xid that somebody else began."""


class StoreRefusedError(StoreError):
    """The store refused the call for good (a right is missing, the object is invalid): a person must act."""


class Store(Protocol):
    """What the sidecars ask of a store."""

    async def begin(self, transaction: GlobalTransaction) -> None:
        """Make a transaction durable, undecided.

        Repeating it with the same xid and initiator is the same call.

        Raises:
            XidTakenError: the xid belongs to somebody else's transaction.
        """

    async def join(
        self, branch: BranchId, mode: Mode, calls: Calls | None = None, *, started: bool = False
    ) -> Branch:
        """Register a branch, durable on return; idempotent.

        With ``started`` it is noted as `start` does, where the store can do that in the same step, and the
        branch is new: what is returned says whether it was.

        Returns the branch that stands: of two that register the same one, both get the first's
        ``calls``.

        A transaction whose `begin` is still on its way is waited for, bounded by the
        store's ``begin_wait``.

        Raises:
            AlreadyDecidedError: too late; no branch of this call remains that could hold work.
            UnknownTransactionError: there is no such transaction.
        """

    async def start(self, branch: BranchId) -> None:
        """Note, durable on return, that a registered branch's work is let through.

        Once a branch was told its outcome, this is refused: whoever carries the outcome out knows
        of each branch whether its work was ever let through.

        Raises:
            AlreadyDecidedError: too late; do not let it through.
            UnknownTransactionError: there is no such branch.
        """

    async def complete(self, branch: BranchId) -> None:
        """Note, durable on return, that a step was done, at a place above all that were noted before.

        So of two steps of which one began when the other was noted, the later has the greater place,
        whatever clocks say. Refused like `start`. A repeat leaves the place of the first time: what was built
        on that is to be compensated before it.

        Raises:
            AlreadyDecidedError: too late; the order of the steps stands.
            UnknownTransactionError: there is no such branch.
        """

    async def decide(self, xid: Xid, decision: Decision) -> Decision:
        """Take the outcome unless it was taken; return the decision that stands, durable.

        Raises:
            UnknownTransactionError: there is no such transaction.
        """

    async def settle(self, branch: BranchId, settlement: Settlement) -> None:
        """Report that an outcome was carried out on a branch, or that it is in Conflict; idempotent.

        Of a notification each attempt that failed is reported too.

        A branch that was forgotten meanwhile is not an error.
        """

    def watch(self, app: str) -> AsyncGenerator[Branch, None]:
        """Yield each branch of the app that has an outcome and is not settled, for ever.

        Level-triggered: a branch may be yielded more than once, none is left out, and what
        was there before the watch began comes first. Lost connections are resumed inside.
        """

    async def read(self, xid: Xid) -> Snapshot:
        """Read a transaction and all its branches, consistently.

        Raises:
            UnknownTransactionError: there is no such transaction.
        """

    async def forget(self, xid: Xid) -> None:
        """Remove a transaction whose branches are all settled; a repeat finds nothing to do.

        Raises:
            StoreRefusedError: it is not settled.
        """
