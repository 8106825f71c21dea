"""All datasources of the sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.attached import AttachedDatasource

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from globaltx.manifest.settings import SidecarSettings
    from globaltx.modes.guard_row import Guarded
    from globaltx_sidecar.branch.guard_rows import Kept
    from globaltx_sidecar.branch.sweeper import Swept
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.metrics import Metrics
    from globaltx_sidecar.mysql.server import MysqlServer
    from globaltx_sidecar.ports import Branches, Guards, Traces


class Databases:
    """The attached datasources; ``credentials`` holds a folder for each."""

    def __init__(
        self,
        settings: SidecarSettings,
        credentials: Path,
        health: Health,
        metrics: Metrics,
        guards: Guards,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._guards = guards
        self._attached = [
            AttachedDatasource(each, credentials, health, guards.owner) for each in settings.datasources
        ]

    async def serve(self, branches: Branches, traces: Traces | None = None) -> list[MysqlServer]:
        """Listen for the application at each.

        Raises:
            OSError: an address cannot be listened at.
        """
        return [
            await each.serve(branches, self._settings.lock_wait, self._metrics, traces, self._guards)
            for each in self._attached
        ]

    def works(self) -> list[Coroutine[None, None, None]]:
        """What goes on in the background until it is cancelled."""
        return [each.prepare() for each in self._attached]

    @property
    def carriers(self) -> Mapping[str, Swept]:
        """What carries outcomes out in each, by name."""
        return {each.name: each.phase_two for each in self._attached}

    @property
    def guard_rows(self) -> Mapping[str, Kept]:
        """The guard rows of each that guards calls, by name."""
        return {each.name: each.guard_rows for each in self._attached if each.guard_rows is not None}

    async def done(self, call: Guarded) -> bool:
        """Whether the work of a call was committed; implements `globaltx_sidecar.http.tries.Rows`."""
        for each in self._attached:
            if each.guard_rows is not None:
                return await each.guard_rows.done(call)  # there is one at most
        return False

    def close(self) -> None:
        """Close the sidecar's own connections."""
        for each in self._attached:
            each.close()
