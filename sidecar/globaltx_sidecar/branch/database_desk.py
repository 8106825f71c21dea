"""Phase two of AT in one datasource: commits together, rollbacks side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.modes import at
from globaltx.transaction.states import Outcome
from globaltx_sidecar.branch.desk import Desk
from globaltx_sidecar.branch.undo_table import UndoTableMissingError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from globaltx.stores.base import Store
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Settlement
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.branch.desk import Job, Pace
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics


class Carrier(Protocol):
    """Carries outcomes out in one database; each call may be repeated."""

    async def commit(self, xids: Sequence[Xid]) -> None:
        """Drop the undo records of the transactions."""

    async def rollback(self, xid: Xid, resolutions: Sequence[Resolution] = ()) -> Settlement:
        """Undo what the transaction did, as people have resolved; it ends RolledBack or in Conflict."""


class DatabaseDesk(Desk):
    """The branches of one datasource."""

    def __init__(
        self,
        resource: str,
        carrier: Carrier,
        store: Store,
        health: Health,
        metrics: Metrics,
        room: asyncio.Event,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(resource, store, health, metrics, room, pace)
        self._carrier = carrier

    def _choose(self, due: list[Job], busy: list[Job]) -> Iterable[list[Job]]:
        outcomes = [job.branch.outcome for job in busy]
        commits = sorted((job for job in due if job.branch.outcome is Outcome.COMMIT), key=_failures)
        if commits and Outcome.COMMIT not in outcomes:
            size = max(1, self._pace.batch_max >> commits[0].failures)
            yield commits[:size]
        free = max(0, self._pace.rollbacks_max - outcomes.count(Outcome.ROLLBACK))
        yield from ([job] for job in [job for job in due if job.branch.outcome is Outcome.ROLLBACK][:free])

    async def _carry_out(self, jobs: list[Job]) -> None:
        undone = [job for job in jobs if job.settlement is None]
        if not undone:
            return
        if undone[0].branch.outcome is Outcome.COMMIT:
            await self._carrier.commit([job.branch.id.xid for job in undone])
            for job in undone:
                job.settlement = at.committed()
            return
        for job in undone:
            job.settlement = await self._carrier.rollback(job.branch.id.xid, job.resolutions)

    def _reason(self, error: Exception) -> Reason:
        return (
            Reason.UNDO_TABLE_MISSING if isinstance(error, UndoTableMissingError) else super()._reason(error)
        )


def _failures(job: Job) -> int:
    return job.failures
