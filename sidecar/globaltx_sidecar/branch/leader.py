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
from globaltx_sidecar.branch.desk import Desk
from globaltx_sidecar.branch.sweeper import LEFT_SECONDS, Sweeper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from globaltx.stores.base import Store
    from globaltx.transaction.model import Branch
    from globaltx_sidecar.branch.desk import Pace
    from globaltx_sidecar.branch.sweeper import Swept
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics


_log = logging.getLogger(__name__)


class Leader:
    """What an application's leader does; ``carriers`` are its datasources by name."""

    def __init__(
        self,
        store: Store,
        app: str,
        carriers: Mapping[str, Swept],
        health: Health,
        metrics: Metrics,
        pace: Pace | None = None,
        *,
        sweep_seconds: float = LEFT_SECONDS,
    ) -> None:
        self._sweep_seconds = sweep_seconds
        self._store = store
        self._app = app
        self._carriers = carriers
        self._health = health
        self._metrics = metrics
        self._pace = pace

    async def lead(self, epoch: int) -> None:
        """Carry out, for ever, what the store yields; ``epoch`` is the term's number."""
        _log.info("leading phase two of %s, epoch %d", self._app, epoch)
        room = asyncio.Event()
        desks = {
            name: Desk(name, carrier, self._store, self._health, self._metrics, room, self._pace)
            for name, carrier in self._carriers.items()
        }
        self._metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                for name, desk in desks.items():
                    tasks.create_task(desk.run(), name=f"desk {name}")
                    sweeper = Sweeper(
                        name,
                        self._carriers[name],
                        self._store,
                        self._health,
                        left_seconds=self._sweep_seconds,
                    )
                    tasks.create_task(sweeper.run(), name=f"sweep {name}")
                while True:
                    await self._follow_until_room(desks, room)
        finally:
            self._metrics.leader.set(0)
            _log.info("no longer leading phase two of %s", self._app)

    async def _follow_until_room(self, desks: Mapping[str, Desk], room: asyncio.Event) -> None:
        """Hand branches out; return when some that found no room should be looked for again."""
        room.clear()
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow(desks), name=f"watch {self._app}")
            await room.wait()
            following.cancel()

    async def _follow(self, desks: Mapping[str, Desk]) -> None:
        async with aclosing(self._store.watch(self._app)) as branches:
            async for branch in branches:
                desk = desks.get(branch.id.resource)
                if desk is None:
                    self._homeless(branch)
                else:
                    desk.take(branch)

    def _homeless(self, branch: Branch) -> None:
        resource = branch.id.resource
        message = (
            f"{branch.id.name} waits for datasource {resource!r}, which no policy of {self._app} has any more"
        )
        self._health.waits(f"phase two of {resource}", Reason.DATASOURCE_UNAVAILABLE, message)
