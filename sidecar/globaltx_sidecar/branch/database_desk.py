"""Phase two of AT in one datasource: commits together, rollbacks a few together, side by side.

A rollback that comes while others are under way waits for them, so that those that come behind it can go
with it: they share round trips and the wait for the disk. It does not wait for long, because a batch may
have to wait for a lock, nor where a batch is full. Rollbacks that cannot be done together are done by
themselves, from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from globaltx.modes import at
from globaltx.transaction.states import Outcome
from globaltx_sidecar.branch.database import DatasourceUnavailableError
from globaltx_sidecar.branch.desk import Desk, due_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from globaltx.coordinator.reasons import Reason
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

    async def rollback_together(self, xids: Sequence[Xid]) -> bool:
        """Undo what the transactions did; False, and nothing is done, when each must be taken by itself."""

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
        under_way = [job for job in busy if job.branch.outcome is Outcome.ROLLBACK]
        free = max(0, self._pace.rollbacks_max - len({job.busy for job in under_way}))
        gathers = not all(map(_alone, under_way))
        rollbacks = [job for job in due if job.branch.outcome is Outcome.ROLLBACK]
        yield from self._rollbacks(rollbacks, gathers=gathers)[:free]

    def _rollbacks(self, due: list[Job], *, gathers: bool) -> list[list[Job]]:
        """Batches of those that may go together, and the others each by itself; the longest due first.

        ``gathers``: one that is not full may stay for others.
        """
        together = sorted((job for job in due if not _alone(job)), key=due_of)
        size = self._pace.rollback_batch_max
        batches = [together[first : first + size] for first in range(0, len(together), size)]
        if gathers and batches and len(batches[-1]) < size and self._until(batches[-1][0]) > self._now():
            del batches[-1]
        return sorted([*batches, *([job] for job in due if _alone(job))], key=lambda batch: batch[0].due)

    def _next_due(self, now: float) -> float | None:
        due = super()._next_due(now)
        if now < self._paused_until:
            return due
        gathered = (self._until(job) for job in self._jobs.values() if not job.busy and job.due <= now)
        ends = [end for end in gathered if end > now]
        return min(ends if due is None else [due, *ends], default=None)

    def _until(self, job: Job) -> float:
        """How long a rollback stays for others, by the loop's clock."""
        return job.due + self._pace.gather_seconds

    async def _carry_out(self, jobs: list[Job]) -> None:
        undone = [job for job in jobs if job.settlement is None]
        if not undone:
            return
        if undone[0].branch.outcome is Outcome.ROLLBACK:
            await self._roll_back(undone)
            return
        await self._carrier.commit([job.branch.id.xid for job in undone])
        for job in undone:
            job.settlement = at.committed()

    async def _roll_back(self, jobs: list[Job]) -> None:
        if len(jobs) == 1 and _alone(jobs[0]):
            job = jobs[0]
            job.settlement = await self._carrier.rollback(job.branch.id.xid, job.resolutions)
            return
        together = [job for job in jobs if not _alone(job)]  # somebody may just have resolved one
        if await self._carrier.rollback_together([job.branch.id.xid for job in together]):
            for job in together:
                job.settlement = at.rolled_back(())
        else:
            for job in together:
                job.alone = True

    def _reason(self, error: Exception) -> Reason:
        return error.reason if isinstance(error, DatasourceUnavailableError) else super()._reason(error)


def _failures(job: Job) -> int:
    return job.failures


def _alone(job: Job) -> bool:
    """Whether its rollback is for itself; one that is done and only failed to be told is not."""
    return job.settlement is None and (job.alone or bool(job.branch.resolutions))
