"""Phase two of one resource: what waits, what is under way, when to try again.

Each resource has a desk of its own, so that one that hangs holds up no other. In a datasource,
commits that wait together are carried out together, one batch at a time: they only drop undo
records. Rollbacks that come while others are under way gather, for a moment at most; where there
are more than one batch takes, a few batches go side by side.

A branch that fails is tried again after a growing, spread-out delay, for ever: its outcome is
taken, and nothing else can end it. Commits that failed together are tried in smaller and smaller
batches, so that one which cannot succeed is left alone by the others; and while everything fails
the whole desk pauses, so that a database that is down is not asked for each branch that waits.
A branch in Conflict is reported, and looked at again now and
then, because a person may have put its row right, and at once when one has decided about it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.transaction.conflict import CarriedOut, in_all
from globaltx.transaction.states import State
from globaltx.values import dataclass, replace
from globaltx_sidecar.faults import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.stores.base import Store
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Branch, BranchId, Settlement
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics

ATTEMPT_SECONDS = 60.0
"""How long one attempt may take, so that a hanging connection is given up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of a desk; times in seconds."""

    backoff: Backoff = Backoff(first=0.2, most=30.0)
    pause: Backoff = Backoff(first=0.05, most=2.0)
    turn: Backoff = Backoff(first=0.05, most=2.0)
    conflict_seconds: float = 300.0
    batch_max: int = 256
    rollbacks_max: int = 8
    rollback_batch_max: int = 32
    gather_seconds: float = 0.1
    waiting_max: int = 16 * 1024
    calls_max: int = 8


@dataclass(slots=True)
class Job:
    """A branch that waits; ``due`` is a reading of the loop's clock."""

    branch: Branch
    due: float
    failures: int = 0
    attempts: int = 0
    refusals: int = 0
    turns: int = 0
    """How often it was not its turn."""
    busy: int = 0
    """The number of the batch that is under way with it; 0 while it waits."""
    alone: bool = False
    """It could not be done together with others."""
    settlement: Settlement | None = None
    resolutions: tuple[Resolution, ...] = ()
    """Those that the settlement has heard of."""
    reported: Settlement | None = None
    """The conflict that this leader has told last; a new leader tells it once more."""


class Desk(ABC):
    """The branches of one resource that wait for phase two; `run` carries them out.

    ``room`` is set when branches that were turned away could be taken now.
    """

    attempt_seconds = ATTEMPT_SECONDS

    def __init__(
        self,
        resource: str,
        store: Store,
        health: Health,
        metrics: Metrics,
        room: asyncio.Event,
        pace: Pace | None = None,
    ) -> None:
        self._resource = resource
        self._store = store
        self._health = health
        self._metrics = metrics
        self._pace = pace or Pace()
        self._now = asyncio.get_running_loop().time
        self._jobs: dict[BranchId, Job] = {}
        self._wake = asyncio.Event()
        self._failures = 0
        self._batches = 0
        self._paused_until = 0.0
        self._part = f"phase two of {resource}"
        self._tells_waiting = metrics.branches_waiting.labels(resource).set
        self._weight = 0
        self._overflowed = False
        self._room = room

    def take(self, branch: Branch) -> None:
        """Accept a branch that has an outcome; of one that is known only a new resolution matters.

        Past the bound it is not kept: `room` is set when it should be looked for again.
        """
        known = self._jobs.get(branch.id)
        if known is not None:
            self._resolve(known, branch)
            return
        if self._weight >= self._pace.waiting_max:
            self._overflowed = True
            return
        self._jobs[branch.id] = self._job(branch)
        self._weight += self._weigh(branch)
        self._changed()

    def _job(self, branch: Branch) -> Job:
        """What is to be done about a branch, at once."""
        return Job(branch, self._now())

    def _resolve(self, job: Job, branch: Branch) -> None:
        """Have another look at once when a person has decided something."""
        if len(branch.resolutions) > len(job.branch.resolutions):
            job.branch = replace(job.branch, resolutions=branch.resolutions)
            job.due = self._now()
            self._changed()

    @property
    def waiting(self) -> int:
        """How many branches are not done."""
        return len(self._jobs)

    async def run(self) -> None:
        """Carry out what is due, for ever."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                now = self._now()  # read once: nobody would wake for what falls due in between
                self._start_due(tasks, now)
                due = self._next_due(now)
                alarm = None if due is None else loop.call_at(due, self._wake.set)
                await self._wake.wait()
                if alarm is not None:
                    alarm.cancel()

    def _start_due(self, tasks: asyncio.TaskGroup, now: float) -> None:
        if now < self._paused_until:
            return
        due = [job for job in self._jobs.values() if not job.busy and job.due <= now]
        busy = [job for job in self._jobs.values() if job.busy and job.settlement is None]
        for batch in self._choose(due, busy):
            self._start(tasks, batch)

    @abstractmethod
    def _choose(self, due: list[Job], busy: list[Job]) -> Iterable[list[Job]]:
        """Choose what to begin now of what is due, in batches, given the work that is under way.

        A branch whose work is done and whose end is being told is none of it.
        """

    @abstractmethod
    async def _carry_out(self, jobs: list[Job]) -> None:
        """Do the work of a batch and set each ``settlement``; those that have one only failed to report.

        One that is left without is due at once again.
        """

    def _start(self, tasks: asyncio.TaskGroup, jobs: list[Job]) -> None:
        self._batches += 1
        for job in jobs:
            job.busy = self._batches
        tasks.create_task(self._attempt(jobs), name=f"{self._part}: {len(jobs)} x {jobs[0].branch.outcome}")

    def _next_due(self, now: float) -> float | None:
        """When to look again by itself; the end of an attempt and a new branch wake before that."""
        if now < self._paused_until:
            return self._paused_until
        return min((job.due for job in self._jobs.values() if not job.busy and job.due > now), default=None)

    async def _attempt(self, jobs: list[Job]) -> None:
        try:
            async with asyncio.timeout(self.attempt_seconds):
                undone = [job for job in jobs if job.settlement is None]
                for job in undone:
                    job.resolutions = job.branch.resolutions
                await self._carry_out(jobs)
                for job in undone:
                    _tally(job)
                self._wake.set()  # the next ones need not wait until the store has heard of these
                done = [job for job in jobs if job.settlement is not None]
                ends = await self._settle_all(done)
        except Exception as error:  # noqa: BLE001  whatever it is, the branches are tried again, and it is told
            self._failed(jobs, error)
        else:
            self._failures = 0
            for job, end in zip(done, ends, strict=True):
                if end is not None:
                    self._failed([job], end)
            if not any(job.failures for job in self._jobs.values()):
                self._health.ok(self._part)
        finally:
            for job in jobs:
                job.busy = 0
            self._changed()

    async def _settle_all(self, jobs: list[Job]) -> list[Exception | None]:
        """Tell the ends; what has failed, each."""
        if len(jobs) > 1:
            told = await asyncio.gather(*map(self._settle, jobs), return_exceptions=True)
            return [each if isinstance(each, Exception) else None for each in told]
        try:
            for job in jobs:  # one is told without a task of its own
                await self._settle(job)
        except Exception as error:  # noqa: BLE001  as above
            return [error]
        return [None] * len(jobs)

    async def _settle(self, job: Job) -> None:
        settlement = job.settlement
        if settlement is None:  # a bug: `_carry_out` has set it
            message = f"{job.branch.id.name} has no settlement"
            raise RuntimeError(message)
        if settlement.state is not State.CONFLICT:
            await self._store.settle(job.branch.id, settlement)
            if self._jobs.pop(job.branch.id, None) is not None:
                self._weight -= self._weigh(job.branch)
            self._metrics.count(self._metrics.branches_settled, self._resource, settlement.state)
            return
        if settlement != job.reported:
            _log.warning("%s is in Conflict: %s", job.branch.id.name, settlement.message)
            await self._store.settle(job.branch.id, settlement)
            self._metrics.branches_settled.labels(self._resource, settlement.state).inc()
            job.branch = replace(job.branch, carried_out=settlement.carried_out)
            job.reported = settlement
        job.settlement = None
        job.failures = 0
        heard = job.resolutions == job.branch.resolutions
        job.due = self._now() + (self._pace.conflict_seconds if heard else 0)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        reason = self._reason(error)
        self._metrics.phase_two_retries.labels(self._resource, reason).inc()
        self._health.waits(self._part, reason, f"{len(jobs)} branches: {type(error).__name__}: {error}")
        chance = random.random()  # noqa: S311  jitter
        now = self._now()
        for job in jobs:
            job.failures += 1
            job.due = now + self._pace.backoff.delay(job.failures, chance)
        self._pause(now, chance)

    def _weigh(self, branch: Branch) -> int:  # noqa: ARG002  for those to whom branches differ
        """How much of ``waiting_max`` a branch takes; the same each time."""
        return 1

    def _pause(self, now: float, chance: float) -> None:
        self._failures += 1
        self._paused_until = now + self._pace.pause.delay(self._failures, chance)

    def _reason(self, error: Exception) -> Reason:
        return reason_of(error) if isinstance(error, StoreError) else Reason.DATASOURCE_UNAVAILABLE

    def _changed(self) -> None:
        self._tells_waiting(len(self._jobs))
        self._wake.set()
        if self._overflowed and self._weight <= self._pace.waiting_max // 2:
            self._overflowed = False
            self._room.set()


def due_of(job: Job) -> float:
    """When a branch is due, to sort by."""
    return job.due


def _tally(job: Job) -> None:
    """Add to an attempt's settlement what earlier ones have done about the decisions of people."""
    if job.settlement is None:
        return
    heard = job.settlement.carried_out or tuple(CarriedOut(each.number) for each in job.resolutions)
    if heard:
        done = in_all(job.branch.carried_out, heard, datetime.now(UTC))
        job.settlement = replace(job.settlement, carried_out=done)
