"""The notifications for one place, each by its own schedule.

Each place has a desk of its own, with few calls at once of which half are first attempts, so that one
that hangs holds up no other, nor all of what is new for it. Past its bound a desk takes no more: what
found no room stays in the store, and is looked for again. Whoever takes over goes on after the last attempt
that was written down, with the pause that follows it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from globaltx.modes import notify
from globaltx.stores.base import StoreError
from globaltx.transaction.notification import NOTIFY_SECONDS_MAX
from globaltx.values import replace
from globaltx_sidecar.branch.desk import Desk, Pace, due_of
from globaltx_sidecar.notify.sender import NotSentError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from datetime import timedelta

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch, Settlement
    from globaltx_sidecar.branch.desk import Job
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics

CALLS_MAX = 4
WAITING_MAX = 1024
_OVERTIME_SECONDS = 15.0

_log = logging.getLogger(__name__)


class Sends(Protocol):
    """Sends single attempts."""

    def place(self, url: str) -> str:
        """Where a URL leads; empty if it must not be called."""

    async def send(self, branch: Branch) -> int:
        """Make one attempt and return the status of the answer.

        Raises:
            NotSentError: there was none.
        """


class NotYetError(Exception):
    """An attempt was not delivered; another is made after ``pause``."""

    def __init__(self, pause: timedelta) -> None:
        super().__init__(f"another attempt in {pause.total_seconds():g} s")
        self.pause = pause


class NotifyDesk(Desk):
    """The notifications for one place."""

    attempt_seconds = NOTIFY_SECONDS_MAX + _OVERTIME_SECONDS  # each attempt has its own, shorter time-out

    def __init__(
        self,
        place: str,
        sender: Sends,
        store: Store,
        health: Health,
        metrics: Metrics,
        room: asyncio.Event,
        pace: Pace | None = None,
    ) -> None:
        pace = pace or replace(Pace(), calls_max=CALLS_MAX, waiting_max=WAITING_MAX)
        super().__init__(place, store, health, metrics, room, pace)
        self._sender = sender

    def _job(self, branch: Branch) -> Job:
        """Of one that was tried before the pause is kept."""
        job = super()._job(branch)
        job.attempts = branch.attempts
        if branch.attempts and (pause := _pause_after(branch, branch.attempts)) is not None:
            job.due += pause.total_seconds()
        return job

    def _choose(self, due: list[Job], busy: list[Job]) -> Iterator[list[Job]]:
        free = self._pace.calls_max - len(busy)
        repeats = self._pace.calls_max // 2 - sum(bool(job.attempts) for job in busy)
        for job in sorted(due, key=due_of):
            if free <= 0:
                return
            if job.attempts and job.settlement is None:
                if repeats <= 0:
                    continue
                repeats -= 1
            free -= 1
            yield [job]

    async def _carry_out(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.settlement is None:
                await self._try(job)

    async def _try(self, job: Job) -> None:
        branch = job.branch
        problem = ""
        try:
            status = await self._sender.send(branch)
            if not notify.is_delivered(status):
                problem = f"answered with status {status}"
        except NotSentError as error:
            problem = str(error)
        job.attempts += 1
        if not problem:
            job.settlement = notify.delivered(branch, job.attempts, status)
            self._metrics.notifications.labels("Delivered").inc()
            return
        await self._missed(job, notify.failed(branch, job.attempts, problem))

    async def _missed(self, job: Job, told: Settlement) -> None:
        """Write an attempt down that was not delivered; the last one with its end."""
        pause = _pause_after(job.branch, job.attempts)
        self._metrics.notifications.labels("GivenUp" if pause is None else "Failed").inc()
        _log.log(
            logging.WARNING if pause is None else logging.INFO,
            "notification %s of %s: %s",
            notify.name_of(job.branch.id),
            job.branch.id.xid,
            told.message,
        )
        if pause is None:
            job.settlement = told
            return
        try:
            await self._store.settle(job.branch.id, told)
        except StoreError as error:  # whoever takes over makes this attempt once more
            _log.info("attempt %d at %s is not written down: %s", job.attempts, job.branch.id.name, error)
        raise NotYetError(pause)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        if not isinstance(error, NotYetError):
            super()._failed(jobs, error)
            return
        for job in jobs:
            job.due = self._now() + error.pause.total_seconds()

    def _pause(self, now: float, chance: float) -> None:
        """One that fails says nothing about the others."""


def _pause_after(branch: Branch, attempts: int) -> timedelta | None:
    return None if branch.notification is None else notify.pause_after(branch.notification, attempts)
