"""The listening side of one datasource: accepts clients, gives each a session, stops gracefully."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx_sidecar.ports import NoMeter

if TYPE_CHECKING:
    from globaltx.manifest.settings import DatasourceSettings
    from globaltx_sidecar.ports import Branches, Meter, Schemas

DEFAULT_LOCK_WAIT = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listening side; times in seconds, sizes in bytes."""

    connect_seconds: float = 5.0
    authentication_seconds: float = 30.0
    join_seconds: float = 10.0
    buffer_bytes: int = 64 * 1024


class MysqlServer:
    """A running listening side; made by `serve`."""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens (the port that was really taken, if 0 was asked for)."""
        raise NotImplementedError

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        raise NotImplementedError

    async def stop(self, grace: timedelta) -> None:
        """Refuse new clients with an error that says so, let running work end, then close.

        Returns after ``grace`` at the latest, with every connection closed.
        """
        raise NotImplementedError


async def serve(
    settings: DatasourceSettings,
    branches: Branches,
    schemas: Schemas,
    *,
    lock_wait: timedelta = DEFAULT_LOCK_WAIT,
    meter: Meter | None = None,
    limits: Limits | None = None,
) -> MysqlServer:
    """Listen at ``settings.listen_host:listen_port`` and pass on to the datasource's database.

    The database need not be there: a client that comes while it is away gets an error that says so.

    Raises:
        OSError: the address cannot be listened at.
    """
    del settings, branches, schemas, lock_wait, limits
    raise NotImplementedError(meter or NoMeter())
