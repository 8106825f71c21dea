"""Carries phase two out for the whole application, while this sidecar leads it.

Leading only saves work: every call it makes may be repeated, also by another sidecar that
believes to lead at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx_sidecar.branch.desks import Desks, Office

if TYPE_CHECKING:
    from collections.abc import Mapping

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch
    from globaltx_sidecar.branch.call_desk import Caller
    from globaltx_sidecar.branch.desk import Pace
    from globaltx_sidecar.branch.guard_rows import Kept, Reads
    from globaltx_sidecar.branch.sweeper import Swept
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.notify.desk import Sends

_log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


class Leader:
    """What an application's leader does; ``carriers`` are its datasources by name.

    ``caller`` calls the application, for the modes that work by HTTP; None where it has no HTTP side.
    ``sender`` tells outcomes; None where no policy lets it. ``only_notifications`` leaves all else to others.
    ``guard_rows`` are the guard rows by datasource, which are kept for ``guard_seconds`` at least, and until
    what they speak of has ended, as ``guarded_in`` tells (the store, unless said otherwise).
    """

    def __init__(  # noqa: PLR0913  each is a part of its own
        self,
        store: Store,
        app: str,
        carriers: Mapping[str, Swept],
        health: Health,
        metrics: Metrics,
        pace: Pace | None = None,
        *,
        caller: Caller | None = None,
        sweep_seconds: float = SWEEP_SECONDS,
        sender: Sends | None = None,
        only_notifications: bool = False,
        guard_rows: Mapping[str, Kept] | None = None,
        guard_seconds: float = 0.0,
        guarded_in: Reads | None = None,
    ) -> None:
        self._store = store
        self._app = app
        self._only_notifications = only_notifications
        self._health = health
        self._metrics = metrics
        self._office = Office(
            store,
            carriers,
            caller,
            health,
            metrics,
            pace,
            sweep_seconds,
            sender,
            guard_rows or {},
            guard_seconds,
            guarded_in,
        )

    async def lead(self, epoch: int) -> None:
        """Carry out, for ever, what the store yields; ``epoch`` is the term's number."""
        _log.info("leading phase two of %s, epoch %d", self._app, epoch)
        self._metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                desks = Desks(self._office, tasks)
                while True:
                    await self._follow_until_room(desks)
        finally:
            self._metrics.leader.set(0)
            _log.info("no longer leading phase two of %s", self._app)

    async def _follow_until_room(self, desks: Desks) -> None:
        """Hand branches out; return when some that found no room should be looked for again."""
        desks.room.clear()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow(desks), name=f"watch {self._app}")
            await desks.room.wait()
            following.cancel()

    async def _follow(self, desks: Desks) -> None:
        async with aclosing(self._store.watch(self._app)) as branches:
            async for branch in branches:
                if branch.progress is not None:
                    continue  # a step of a declared saga: whoever conducts that carries it out
                if self._only_notifications and branch.notification is None:
                    continue
                desk = desks.of(branch)
                if desk is None:
                    self._homeless(branch)
                else:
                    desk.take(branch)

    def _homeless(self, branch: Branch) -> None:
        resource = branch.id.resource
        what, reason = f"datasource {resource!r}", Reason.DATASOURCE_UNAVAILABLE
        if branch.calls is not None:
            what, reason = "an HTTP port", Reason.APPLICATION_UNAVAILABLE
        if branch.notification is not None:
            what, reason = "notify", Reason.DESTINATION_NOT_ALLOWED
        message = f"{branch.id.name} waits for {what}, which no policy of {self._app} has any more"
        self._health.waits(f"phase two of {resource}", reason, message)
