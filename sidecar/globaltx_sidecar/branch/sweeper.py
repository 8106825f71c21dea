"""Clears away what no phase two will: old fences, and undo records that came too late.

An application that answers before its local commit is through can leave undo records of a
transaction that is settled already. They are locks, so they must go: as the outcome says while
the store still knows it, which is soon: a transaction is forgotten some time after it has settled.
What no store knows is told and never guessed at.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreRefusedError, UnknownTransactionError
from globaltx.transaction.states import Outcome
from globaltx_sidecar.branch.database_desk import Carrier
from globaltx_sidecar.branch.sweeping import sweep_for_ever

if TYPE_CHECKING:
    from globaltx.stores.base import Store
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.health import Health

LEFT_SECONDS = 60.0
"""How old undo records are before anybody asks what became of their transaction, and how often."""
FENCES_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class Swept(Carrier, Protocol):
    """A database that can be swept."""

    async def sweep(self) -> int:
        """Drop the fences that nobody can meet any more; return how many."""

    async def stale(self, older_than_seconds: float) -> list[Xid]:
        """List transactions whose undo records have been there for so long."""


class Sweeper:
    """Sweeps one datasource, now and then."""

    def __init__(
        self,
        resource: str,
        database: Swept,
        store: Store,
        health: Health,
        *,
        left_seconds: float = LEFT_SECONDS,
    ) -> None:
        self._left_seconds = left_seconds
        self._fences_due = 0.0
        self._resource = resource
        self._database = database
        self._store = store
        self._health = health
        self._part = f"leftovers in {resource}"

    async def run(self) -> None:
        """Sweep again and again, for ever."""
        await sweep_for_ever(self.sweep, self._part, self._health, self._left_seconds)

    async def sweep(self) -> None:
        """Sweep once; fences only now and then, for they hold nothing up."""
        now = asyncio.get_running_loop().time()
        if now >= self._fences_due:
            fences = await self._database.sweep()
            self._fences_due = now + FENCES_SECONDS
            if fences:
                _log.info("%s: dropped %d fences", self._part, fences)
        stale = await self._database.stale(self._left_seconds)
        unknown = [xid for xid in stale if not await self._clear(xid)]
        if unknown:
            named = ", ".join(map(str, unknown[:10]))
            message = f"no store tells of {named}; a person must look at their undo records"
            self._health.waits(self._part, Reason.UNKNOWN_TRANSACTION, message)
        else:
            self._health.ok(self._part)

    async def _clear(self, xid: Xid) -> bool:
        """Carry out a late outcome; False when nobody tells one (it may be another namespace's).

        An undecided transaction is left alone, and so is one whose branch here waits for phase two.
        """
        try:
            snapshot = await self._store.read(xid)
        except (UnknownTransactionError, StoreRefusedError):
            return False
        decision = snapshot.transaction.decision
        waits = any(not each.settled for each in snapshot.branches if each.id.resource == self._resource)
        if decision is None or waits:
            return True
        if decision.outcome is Outcome.COMMIT:
            await self._database.commit([xid])
        else:
            await self._database.rollback(xid)
        _log.warning("%s: %s came after its outcome, %s", self._part, xid, decision.outcome)
        return True
