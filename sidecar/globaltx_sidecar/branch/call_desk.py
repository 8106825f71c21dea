"""Phase two by HTTP: the confirms and cancels that one route's branches ask for.

Each route has a desk of its own, and each branch is called by itself, so that an endpoint which
hangs, or a branch which is refused, holds up no other: at most half of the calls under way are ones
that failed before, and all routes together repeat so many calls a second and no more.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.schemas.calls import CALL_SECONDS_MAX
from globaltx.modes import saga, tcc, tcd
from globaltx.modes.guard_row import Finding
from globaltx.modes.tcc import Call, Verdict
from globaltx.stores.base import UnknownTransactionError
from globaltx.transaction.model import Mode
from globaltx_sidecar.branch.desk import Desk, due_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch, BranchId, Settlement
    from globaltx_sidecar.allowance import Allowance
    from globaltx_sidecar.branch.desk import Job, Pace
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics

RETRIES_A_SECOND = 50.0
"""How many calls an app's leader may repeat, saved up for one second."""
BYTES_WEIGHT = 2048
"""So that a desk full of large requests holds about 32 MiB of them, as many branches as that makes."""
_OVERTIME_SECONDS = 15.0


class CallFailedError(Exception):
    """A call is not done; repeat it."""

    def __init__(self, message: str, reason: Reason = Reason.CALL_FAILED) -> None:
        super().__init__(message)
        self.reason = reason


class Asked(Protocol):
    """A mode that works by calls."""

    def duty(self, branch: Branch) -> Call | Settlement:
        """Say what the outcome asks of a branch."""

    def conflict(self, call: Call, status: int, refusals: int) -> Settlement | None:
        """The Conflict of a branch that was refused so often in a row; None while it is not in one."""


_MODES: dict[Mode, Asked] = {Mode.TCC: tcc, Mode.TCD: tcd, Mode.SAGA: saga}


class NotItsTurnError(Exception):
    """The compensations of other steps come before this one; look again soon."""


class Caller(Protocol):
    """Calls the application."""

    async def call(self, branch: BranchId, call: Call, attempt: int) -> int | Finding:
        """Make a call and return the status of its answer (see `tcc`), or the finding by which it is done.

        Raises:
            CallFailedError: there was no answer.
        """


class CallDesk(Desk):
    """The branches of one route."""

    attempt_seconds = CALL_SECONDS_MAX + _OVERTIME_SECONDS  # each call has its own, shorter time-out

    def __init__(  # noqa: PLR0913, PLR0917  the parts of every desk, and its own two
        self,
        resource: str,
        caller: Caller,
        budget: Allowance,
        store: Store,
        health: Health,
        metrics: Metrics,
        room: asyncio.Event,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(resource, store, health, metrics, room, pace)
        self._caller = caller
        self._budget = budget

    def _choose(self, due: list[Job], busy: list[Job]) -> Iterator[list[Job]]:
        free = max(0, self._pace.calls_max - len(busy))
        again = sorted((job for job in due if job.failures), key=due_of)
        repeated = sum(job.failures > 0 for job in busy)
        # One place is for what failed, or that would wait as long as there is new work.
        kept = 1 if again and free and not repeated else 0
        first = [job for job in due if not job.failures][: free - kept]
        yield from ([job] for job in first)
        free = min(free - len(first), max(1, self._pace.calls_max // 2) - repeated)
        for job in again[: max(0, free)]:
            if self._budget.take(self._now()):
                yield [job]
            else:
                job.due = self._now() + random.random()  # noqa: S311  jitter

    async def _carry_out(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.settlement is None:
                await self._call(job)

    async def _call(self, job: Job) -> None:
        mode = _MODES.get(job.branch.mode, tcc)
        duty = mode.duty(job.branch)
        if not isinstance(duty, Call):
            job.settlement = duty
            return
        await self._turn(job.branch)
        job.attempts += 1
        status = await self._caller.call(job.branch.id, duty, job.attempts)
        if isinstance(status, Finding):
            job.settlement = tcc.found_done(job.branch, status)
            return
        verdict = tcc.judge(duty.calls, status)
        job.refusals = job.refusals + 1 if verdict is Verdict.REFUSED else 0
        if verdict is Verdict.DONE:
            job.settlement = tcc.answered(job.branch, status)
        else:
            job.settlement = mode.conflict(duty, status, job.refusals)
        if job.settlement is None:
            reason = Reason.CALL_REFUSED if verdict is Verdict.REFUSED else Reason.CALL_FAILED
            message = f"{duty.operation} {duty.path} for {job.branch.id.name} answered {tcc.shown(status)}"
            raise CallFailedError(message, reason)

    async def _turn(self, branch: Branch) -> None:
        """Return if a step's compensation may be called now; other branches need not wait.

        Raises:
            NotItsTurnError: others come first.
        """
        if branch.calls is None or not saga.ordered(branch.calls):
            return
        try:
            snapshot = await self._store.read(branch.id.xid)
        except UnknownTransactionError:  # a person has set its outcome, and nobody knows of any others
            return
        first = saga.waits_for(branch.id, snapshot.branches)
        if first:
            message = f"{branch.id.name} is compensated after {', '.join(each.name for each in first[:3])}"
            raise NotItsTurnError(message)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        if not isinstance(error, NotItsTurnError):
            super()._failed(jobs, error)
            return
        for job in jobs:
            job.turns += 1
            chance = random.random()  # noqa: S311  jitter
            job.due = self._now() + self._pace.turn.delay(job.turns, chance)

    def _weigh(self, branch: Branch) -> int:
        """One, and one more for each `BYTES_WEIGHT` of what is kept of its request."""
        return 1 + (len(branch.calls.request.body) // BYTES_WEIGHT if branch.calls else 0)

    def _pause(self, now: float, chance: float) -> None:
        """One branch that fails says nothing about the others."""

    def _reason(self, error: Exception) -> Reason:
        if isinstance(error, CallFailedError):
            return error.reason
        return Reason.CALL_FAILED if isinstance(error, TimeoutError) else super()._reason(error)
