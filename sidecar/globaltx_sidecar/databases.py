"""All datasources of the sidecar, and the election of who carries phase two out in them."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_sidecar.attached import AttachedDatasource
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.faults import reason_of

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from globaltx.manifest.settings import SidecarSettings
    from globaltx.stores.base import Store
    from globaltx.stores.kubernetes.lease import Elector
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.mysql.server import MysqlServer
    from globaltx_sidecar.ports import Branches

PART = "phase two"
GOOD_SECONDS = 60.0
"""A term that lasted this long was a good one: the next failure counts as the first."""

_log = logging.getLogger(__name__)
_AGAIN = Backoff(first=0.5, most=30.0)


class Databases:
    """The attached datasources; ``credentials`` holds a folder for each."""

    def __init__(
        self,
        settings: SidecarSettings,
        credentials: Path,
        health: Health,
        metrics: Metrics,
        sweep_seconds: float,
    ) -> None:
        self._sweep_seconds = sweep_seconds
        self._settings = settings
        self._health = health
        self._metrics = metrics
        self._attached = [AttachedDatasource(each, credentials, health) for each in settings.datasources]

    async def serve(self, branches: Branches) -> list[MysqlServer]:
        """Listen for the application at each.

        Raises:
            OSError: an address cannot be listened at.
        """
        return [
            await each.serve(branches, self._settings.lock_wait, self._metrics) for each in self._attached
        ]

    def works(self, store: Store, elector: Elector) -> list[Coroutine[None, None, None]]:
        """What goes on in the background until it is cancelled."""
        return [self._lead(store, elector), *(each.prepare() for each in self._attached)]

    def close(self) -> None:
        """Close the sidecar's own connections."""
        for each in self._attached:
            each.close()

    async def _lead(self, store: Store, elector: Elector) -> None:
        """Stand for election, for ever; whatever goes wrong is told and tried again."""
        carriers = {each.name: each.phase_two for each in self._attached}
        leader = Leader(
            store,
            self._settings.app,
            carriers,
            self._health,
            self._metrics,
            sweep_seconds=self._sweep_seconds,
        )
        now, failures = asyncio.get_running_loop().time, 0
        while True:
            began = now()
            try:
                await elector.run(leader.lead)
            except Exception as error:  # noqa: BLE001  whatever it is, phase two must go on
                _log.exception("phase two stopped and is taken up again")
                self._health.waits(PART, reason_of(error), repr(error))
            failures = 1 if now() - began > GOOD_SECONDS else failures + 1
            await asyncio.sleep(_AGAIN.delay(failures, random.random()))  # noqa: S311  jitter
            self._health.gone(PART)
