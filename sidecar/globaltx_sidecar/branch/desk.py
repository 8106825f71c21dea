"""Phase two of one datasource: what waits, what is under way, when to try again.

Each datasource has a desk of its own, so that one hanging database holds up no other. Commits
that wait together are carried out together, one batch at a time: they only drop undo records.
Rollbacks go side by side, a few at a time.

A branch that fails is tried again after a growing, spread-out delay, for ever: its outcome is
taken, and nothing else can end it. Commits that failed together are tried in smaller and smaller
batches, so that one which cannot succeed is left alone by the others; and while everything fails
the whole desk pauses, so that a database that is down is not asked for each branch that waits.
A branch in Conflict is reported, and looked at again now and
then, because a person may have put its row right.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.transaction.model import Settlement
from globaltx.transaction.states import Outcome, State
from globaltx_sidecar.branch.undo_table import UndoTableMissingError
from globaltx_sidecar.faults import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch, BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics

ATTEMPT_SECONDS = 60.0
"""How long one attempt may take, so that a hanging connection is given up."""

_log = logging.getLogger(__name__)


class Carrier(Protocol):
    """Carries outcomes out in one database; each call may be repeated."""

    async def commit(self, xids: Sequence[Xid]) -> None:
        """Drop the undo records of the transactions."""

    async def rollback(self, xid: Xid) -> Settlement:
        """Undo what the transaction did; the settlement is RolledBack or Conflict."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of a desk; times in seconds."""

    backoff: Backoff = Backoff(first=0.2, most=30.0)  # noqa: RUF009  frozen
    pause: Backoff = Backoff(first=0.05, most=2.0)  # noqa: RUF009  frozen
    conflict_seconds: float = 300.0
    batch_max: int = 256
    rollbacks_max: int = 8
    waiting_max: int = 16 * 1024


@dataclass(slots=True)
class _Job:
    branch: Branch
    due: float
    failures: int = 0
    busy: bool = False
    settlement: Settlement | None = None


class Desk:
    """The branches of one datasource that wait for phase two; `run` carries them out.

    ``room`` is set when branches that were turned away could be taken now.
    """

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
        self._resource = resource
        self._carrier = carrier
        self._store = store
        self._health = health
        self._metrics = metrics
        self._pace = pace or Pace()
        self._now = asyncio.get_running_loop().time
        self._jobs: dict[BranchId, _Job] = {}
        self._wake = asyncio.Event()
        self._failures = 0
        self._paused_until = 0.0
        self._part = f"phase two of {resource}"
        self._overflowed = False
        self._room = room

    def take(self, branch: Branch) -> None:
        """Accept a branch that has an outcome; one that is known already changes nothing.

        Past the bound it is not kept: `room` is set when it should be looked for again.
        """
        if branch.id in self._jobs:
            return
        if len(self._jobs) >= self._pace.waiting_max:
            self._overflowed = True
            return
        self._jobs[branch.id] = _Job(branch, self._now())
        self._changed()

    @property
    def waiting(self) -> int:
        """How many branches are not done."""
        return len(self._jobs)

    async def run(self) -> None:
        """Carry out what is due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                self._start_due(tasks)
                try:
                    async with asyncio.timeout_at(self._next_due()):
                        await self._wake.wait()
                except TimeoutError:
                    pass  # something is due

    def _start_due(self, tasks: asyncio.TaskGroup) -> None:
        now = self._now()
        if now < self._paused_until:
            return
        due = [job for job in self._jobs.values() if not job.busy and job.due <= now]
        busy = [job.branch.outcome for job in self._jobs.values() if job.busy]
        commits = sorted((job for job in due if job.branch.outcome is Outcome.COMMIT), key=_failures)
        if commits and Outcome.COMMIT not in busy:
            size = max(1, self._pace.batch_max >> commits[0].failures)
            self._start(tasks, commits[:size])
        free = max(0, self._pace.rollbacks_max - busy.count(Outcome.ROLLBACK))
        for job in [job for job in due if job.branch.outcome is Outcome.ROLLBACK][:free]:
            self._start(tasks, [job])

    def _start(self, tasks: asyncio.TaskGroup, jobs: list[_Job]) -> None:
        for job in jobs:
            job.busy = True
        tasks.create_task(self._attempt(jobs), name=f"{self._part}: {len(jobs)} x {jobs[0].branch.outcome}")

    def _next_due(self) -> float | None:
        """When to look again by itself; the end of an attempt and a new branch wake before that."""
        now = self._now()
        if now < self._paused_until:
            return self._paused_until
        return min((job.due for job in self._jobs.values() if not job.busy and job.due > now), default=None)

    async def _attempt(self, jobs: list[_Job]) -> None:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await self._carry_out(jobs)
                ends = await asyncio.gather(*(self._settle(job) for job in jobs), return_exceptions=True)
        except Exception as error:  # noqa: BLE001  whatever it is, the branches are tried again, and it is told
            self._failed(jobs, error)
        else:
            self._failures = 0
            for job, end in zip(jobs, ends, strict=True):
                if isinstance(end, Exception):
                    self._failed([job], end)
            if not any(job.failures for job in self._jobs.values()):
                self._health.ok(self._part)
        finally:
            for job in jobs:
                job.busy = False
            self._changed()

    async def _carry_out(self, jobs: list[_Job]) -> None:
        """Do the database's part; a job that only failed to report has done it already."""
        undone = [job for job in jobs if job.settlement is None]
        if not undone:
            return
        if undone[0].branch.outcome is Outcome.COMMIT:
            await self._carrier.commit([job.branch.id.xid for job in undone])
            for job in undone:
                job.settlement = Settlement(State.COMMITTED, Reason.COMMITTED)
            return
        for job in undone:
            job.settlement = await self._carrier.rollback(job.branch.id.xid)

    async def _settle(self, job: _Job) -> None:
        settlement = job.settlement
        if settlement is None:  # a bug: `_carry_out` has set it
            message = f"{job.branch.id.name} has no settlement"
            raise RuntimeError(message)
        if settlement.state is not State.CONFLICT:
            await self._store.settle(job.branch.id, settlement)
            self._jobs.pop(job.branch.id, None)
            self._metrics.branches_settled.labels(self._resource, settlement.state).inc()
            return
        if (job.branch.state, job.branch.message) != (settlement.state, settlement.message):
            _log.warning("%s is in Conflict: %s", job.branch.id.name, settlement.message)
            await self._store.settle(job.branch.id, settlement)
            self._metrics.branches_settled.labels(self._resource, settlement.state).inc()
            job.branch = replace(job.branch, state=settlement.state, message=settlement.message)
        job.settlement = None
        job.failures = 0
        job.due = self._now() + self._pace.conflict_seconds

    def _failed(self, jobs: list[_Job], error: Exception) -> None:
        reason = _reason(error)
        self._metrics.phase_two_retries.labels(self._resource, reason).inc()
        self._health.waits(self._part, reason, f"{len(jobs)} branches: {type(error).__name__}: {error}")
        chance = random.random()  # noqa: S311  jitter
        now = self._now()
        for job in jobs:
            job.failures += 1
            job.due = now + self._pace.backoff.delay(job.failures, chance)
        self._failures += 1
        self._paused_until = now + self._pace.pause.delay(self._failures, chance)

    def _changed(self) -> None:
        self._metrics.branches_waiting.labels(self._resource).set(len(self._jobs))
        self._wake.set()
        if self._overflowed and len(self._jobs) <= self._pace.waiting_max // 2:
            self._overflowed = False
            self._room.set()


def _failures(job: _Job) -> int:
    return job.failures


def _reason(error: Exception) -> Reason:
    if isinstance(error, StoreError):
        return reason_of(error)
    missing = isinstance(error, UndoTableMissingError)
    return Reason.UNDO_TABLE_MISSING if missing else Reason.DATASOURCE_UNAVAILABLE
