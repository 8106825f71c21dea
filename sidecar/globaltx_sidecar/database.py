"""One datasource of the sidecar: its listener, its undo table, its phase two."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from globaltx.manifest.settings import DatasourceSettings
    from globaltx_sidecar.branch.desk import Carrier
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.mysql.server import MysqlServer
    from globaltx_sidecar.ports import Branches, Meter

_log = logging.getLogger(__name__)


def listener_part(settings: DatasourceSettings) -> str:
    """The name of a datasource's listener on ``/readyz``."""
    return f"datasource {settings.datasource.name}"


class Database:
    """A datasource's parts, over one account of the sidecar's own."""

    def __init__(self, settings: DatasourceSettings, credentials: Path, health: Health) -> None:
        self.name = settings.datasource.name
        self._settings = settings
        self._health = health

    @property
    def carrier(self) -> Carrier:
        raise NotImplementedError

    async def serve(self, branches: Branches, lock_wait: timedelta, meter: Meter) -> MysqlServer:
        raise NotImplementedError

    async def keep_undo_table(self) -> None:
        raise NotImplementedError
