"""The store that forgets with its process: for tests and for simulation.

Several `MemoryStore` values over one `Memory` are several clients of one store. Each call is one
atomic step, and before and after it the client's ``hook`` is awaited, where a test can delay the
call, lose it (raise "before") or lose its answer (raise "after").
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from globaltx.modes import saga
from globaltx.stores.base import (
    AlreadyDecidedError,
    StoreRefusedError,
    UnknownTransactionError,
    XidTakenError,
)
from globaltx.transaction.model import Branch, Snapshot
from globaltx.transaction.states import END_OF, ENDS, advance, decided
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from globaltx.transaction.calls import Calls
    from globaltx.transaction.model import BranchId, Decision, GlobalTransaction, Mode, Settlement
    from globaltx.transaction.xid import Xid

When = Literal["before", "after"]
Hook = Callable[[str, When], Awaitable[None]]
Answer = TypeVar("Answer")


async def no_hook(call: str, when: When) -> None:
    """Let every call through."""


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Memory:
    """What all clients of one memory store share; ``utc`` stamps births and decisions."""

    utc: Callable[[], datetime] = _utc
    transactions: dict[Xid, GlobalTransaction] = field(default_factory=dict)
    branches: dict[BranchId, Branch] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class MemoryStore:
    """The `globaltx.stores.base.Store` over a `Memory`.

    ``begin_wait`` is how long `join` waits for a transaction whose `begin` is on its way, in seconds.
    """

    def __init__(
        self, memory: Memory | None = None, *, begin_wait: float = 5.0, hook: Hook = no_hook
    ) -> None:
        self._memory = memory or Memory()
        self._begin_wait = begin_wait
        self._hook = hook
        self.starts_apart = False
        """Whether it takes a step of its own to note that work is let through, as one store needs."""

    async def begin(self, transaction: GlobalTransaction) -> None:
        """See `Store.begin`."""
        await self._step("begin", lambda: self._begin(transaction))

    async def join(
        self, branch: BranchId, mode: Mode, calls: Calls | None = None, *, started: bool = False
    ) -> Branch:
        """See `Store.join`."""
        await self._hook("join", "before")
        async with self._memory.changed:
            try:
                async with asyncio.timeout(self._begin_wait):
                    await self._memory.changed.wait_for(lambda: branch.xid in self._memory.transactions)
            except TimeoutError as error:
                raise UnknownTransactionError(branch.xid) from error
            stands = self._join(Branch(branch, mode, calls=calls, started=started and not self.starts_apart))
            self._memory.changed.notify_all()
        await self._hook("join", "after")
        return stands

    async def start(self, branch: BranchId) -> None:
        """See `Store.start`."""
        await self._step("start", lambda: self._note(branch, started=True))

    async def complete(self, branch: BranchId) -> None:
        """See `Store.complete`."""
        await self._step(
            "complete", lambda: self._note(branch, completed=saga.place_of(branch, self._of(branch.xid)))
        )

    async def decide(self, xid: Xid, decision: Decision) -> Decision:
        """See `Store.decide`; the branches are told in the same step."""
        return await self._step("decide", lambda: self._decide(xid, decision))

    async def settle(self, branch: BranchId, settlement: Settlement) -> None:
        """See `Store.settle`.

        Raises:
            StoreRefusedError: the branch was not told this outcome.
        """
        await self._step("settle", lambda: self._settle(branch, settlement))

    async def read(self, xid: Xid) -> Snapshot:
        """See `Store.read`."""
        return await self._step("read", lambda: self._read(xid))

    async def forget(self, xid: Xid) -> None:
        """See `Store.forget`."""
        await self._step("forget", lambda: self._forget(xid))

    async def watch(self, app: str) -> AsyncGenerator[Branch, None]:
        """See `Store.watch`; each branch is yielded once a state."""
        known: dict[BranchId, Branch] = {}
        while True:
            found = await self._other_than(known, app)
            news = [branch for key, branch in found.items() if known.get(key) != branch]
            known = found
            for branch in news:
                yield branch

    async def _other_than(self, known: dict[BranchId, Branch], app: str) -> dict[BranchId, Branch]:
        async with self._memory.changed:
            await self._memory.changed.wait_for(lambda: self._open(app) != known)
            return self._open(app)

    async def _step(self, call: str, act: Callable[[], Answer]) -> Answer:
        await self._hook(call, "before")
        async with self._memory.changed:
            answer = act()
            self._memory.changed.notify_all()
        await self._hook(call, "after")
        return answer

    def _open(self, app: str) -> dict[BranchId, Branch]:
        return {
            branch.id: branch
            for branch in self._memory.branches.values()
            if branch.id.app == app and branch.outcome is not None and not branch.settled
        }

    def _begin(self, transaction: GlobalTransaction) -> None:
        found = self._memory.transactions.get(transaction.xid)
        if found is None:
            born = replace(transaction, begun_at=self._memory.utc())
            self._memory.transactions[transaction.xid] = born
        elif not found.same_begin(transaction):
            message = f"{transaction.xid} was begun by {found.initiator} already"
            raise XidTakenError(message)

    def _join(self, branch: Branch) -> Branch:
        self._undecided(branch.id.xid)
        return self._memory.branches.setdefault(branch.id, branch)

    def _note(self, id_: BranchId, **what: Any) -> None:
        self._undecided(id_.xid)
        branch = self._memory.branches.get(id_)
        if branch is None:
            raise UnknownTransactionError(id_.xid)
        self._memory.branches[id_] = replace(branch, **what)

    def _undecided(self, xid: Xid) -> None:
        decision = self._known(xid).decision
        if decision is not None:
            raise AlreadyDecidedError(xid, decision)

    def _decide(self, xid: Xid, decision: Decision) -> Decision:
        transaction = self._known(xid)
        if transaction.decision is not None:
            return transaction.decision
        stands = replace(decision, at=self._memory.utc())
        state = advance(transaction.state, decided(decision.outcome))
        self._memory.transactions[xid] = replace(transaction, decision=stands, state=state)
        for branch in self._of(xid):
            self._memory.branches[branch.id] = replace(branch, outcome=decision.outcome)
        return stands

    def _settle(self, id_: BranchId, settlement: Settlement) -> None:
        branch = self._memory.branches.get(id_)
        if branch is None or branch.settled:
            return
        if settlement.state in ENDS and (
            branch.outcome is None or settlement.state is not END_OF[branch.outcome]
        ):
            message = (
                f"{id_.name} cannot be {settlement.state}: its outcome is {branch.outcome or 'not taken'}"
            )
            raise StoreRefusedError(message)
        self._memory.branches[id_] = replace(
            branch,
            state=settlement.state,
            reason=settlement.reason,
            message=settlement.message,
            carried_out=settlement.carried_out or branch.carried_out,
            attempts=settlement.attempts,
        )

    def _read(self, xid: Xid) -> Snapshot:
        return Snapshot(self._known(xid), tuple(sorted(self._of(xid), key=lambda branch: branch.id)))

    def _forget(self, xid: Xid) -> None:
        transaction = self._memory.transactions.get(xid)
        branches = self._of(xid)
        unsettled = [branch for branch in branches if not branch.settled]
        if unsettled or (transaction is not None and transaction.decision is None):
            message = f"{xid} is not settled: {len(unsettled)} of {len(branches)} branches are not"
            raise StoreRefusedError(message)
        for branch in branches:
            del self._memory.branches[branch.id]
        self._memory.transactions.pop(xid, None)

    def _known(self, xid: Xid) -> GlobalTransaction:
        try:
            return self._memory.transactions[xid]
        except KeyError:
            raise UnknownTransactionError(xid) from None

    def _of(self, xid: Xid) -> list[Branch]:
        return [branch for branch in self._memory.branches.values() if branch.id.xid == xid]
