"""Clears away what no phase two will: old fences, and undo records that came too late.

An application that answers before its local commit is through can leave undo records of a
transaction that is settled already. They are locks, so they must go: as the outcome says while
the store still knows it. What no store knows is told and never guessed at.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import UnknownTransactionError
from globaltx.transaction.states import Outcome
from globaltx_sidecar.branch.desk import Carrier

if TYPE_CHECKING:
    from globaltx.stores.base import Store
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.health import Health

FIRST_SECONDS = 60.0
EVERY_SECONDS = 3600.0

_log = logging.getLogger(__name__)


class Swept(Carrier, Protocol):
    """A database that can be swept."""

    async def sweep(self) -> int:
        """Drop the fences that nobody can meet any more; return how many."""

    async def stale(self) -> list[Xid]:
        """List transactions whose undo records have been there for longer than any transaction lives."""


class Sweeper:
    """Sweeps one datasource, now and then."""

    def __init__(self, resource: str, database: Swept, store: Store, health: Health) -> None:
        self._database = database
        self._store = store
        self._health = health
        self._part = f"leftovers in {resource}"

    async def run(self) -> None:
        """Sweep soon after the start and every hour from then on, for ever."""
        seconds = FIRST_SECONDS
        while True:
            await asyncio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311  jitter
            try:
                async with asyncio.timeout(EVERY_SECONDS / 2):
                    await self.sweep()
            except Exception as error:  # noqa: BLE001  a sweep that fails is repeated, and it is told
                self._health.waits(self._part, Reason.DATASOURCE_UNAVAILABLE, f"could not sweep: {error}")
            seconds = EVERY_SECONDS

    async def sweep(self) -> None:
        """Sweep once."""
        fences = await self._database.sweep()
        if fences:
            _log.info("%s: dropped %d fences", self._part, fences)
        unknown = [xid for xid in await self._database.stale() if not await self._clear(xid)]
        if unknown:
            named = ", ".join(map(str, unknown[:10]))
            message = f"no store knows {named}; a person must look at their undo records"
            self._health.waits(self._part, Reason.UNKNOWN_TRANSACTION, message)
        else:
            self._health.ok(self._part)

    async def _clear(self, xid: Xid) -> bool:
        """Carry out a late outcome; False when nobody knows one. An undecided transaction is left alone."""
        try:
            decision = (await self._store.read(xid)).transaction.decision
        except UnknownTransactionError:
            return False
        if decision is None:
            return True
        if decision.outcome is Outcome.COMMIT:
            await self._database.commit([xid])
        else:
            await self._database.rollback(xid)
        _log.warning("%s: %s came after its outcome, %s", self._part, xid, decision.outcome)
        return True
