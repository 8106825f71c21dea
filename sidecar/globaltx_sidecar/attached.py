"""A datasource that this sidecar is attached to: its listener, its undo table, its phase two."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_sidecar.branch.database import Database, DatasourceUnavailableError
from globaltx_sidecar.branch.guard_rows import GuardRows
from globaltx_sidecar.branch.guard_table import ensure_guard_table
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.branch.undo_table import ensure_undo_table
from globaltx_sidecar.mysql.server import serve

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from globaltx.manifest.settings import DatasourceSettings
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.mysql.server import MysqlServer
    from globaltx_sidecar.ports import Branches, Guards, Meter, Traces

_AGAIN = Backoff(first=0.2, most=15.0)


class AttachedDatasource:
    """The parts of one datasource, over the sidecar's own account in it."""

    def __init__(
        self, settings: DatasourceSettings, credentials: Path, health: Health, guard_owner: str = ""
    ) -> None:
        self._settings = settings
        self._health = health
        self._credentials = credentials
        self._database = Database(settings.datasource, str(credentials))
        self._schemas = CachedSchemas(self._database)
        self.name = settings.datasource.name
        self.phase_two = PhaseTwo(self._database, self._schemas)
        guards = settings.datasource.guards_calls
        self.guard_rows = GuardRows(self._database, guard_owner) if guards else None
        """None: it guards no calls."""
        health.need(self._listener)

    async def serve(
        self,
        branches: Branches,
        lock_wait: timedelta,
        meter: Meter,
        traces: Traces | None,
        guards: Guards | None = None,
    ) -> MysqlServer:
        """Listen for the application; the database need not be there.

        Raises:
            OSError: the address cannot be listened at.
        """
        server = await serve(
            self._settings,
            branches,
            self._schemas,
            lock_wait=lock_wait,
            meter=meter,
            traces=traces,
            guards=guards,
            credentials=self._credentials,
        )
        self._health.ok(self._listener)
        return server

    async def prepare(self) -> None:
        """See to it that the tables of ours are there, however long that takes."""
        part = f"undo table of {self.name}"
        failures = 0
        while True:
            try:
                await ensure_undo_table(self._database)
                if self._settings.datasource.guards_calls:
                    await ensure_guard_table(self._database)
            except Exception as error:  # noqa: BLE001  whatever it is, it is told and tried again
                failures += 1
                reason = Reason.DATASOURCE_UNAVAILABLE
                if isinstance(error, DatasourceUnavailableError):
                    reason = error.reason
                self._health.waits(part, reason, str(error))
                await asyncio.sleep(_AGAIN.delay(failures, random.random()))  # noqa: S311  jitter
            else:
                self._health.ok(part)
                return

    def close(self) -> None:
        """Close the sidecar's own idle connections."""
        self._database.close()

    @property
    def _listener(self) -> str:
        return f"datasource {self.name}"
