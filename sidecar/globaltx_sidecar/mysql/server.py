"""The listening side of one datasource: accepts clients, gives each a session, stops gracefully."""

from __future__ import annotations

import asyncio
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from globaltx.manifest.settings import CREDENTIALS_FOLDER
from globaltx.values import dataclass
from globaltx_sidecar.mysql.connection import Connection
from globaltx_sidecar.mysql.password_key import PasswordKey
from globaltx_sidecar.ports import NoMeter
from globaltx_sidecar.tls import DatasourceTls

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Datasource
    from globaltx.manifest.settings import DatasourceSettings
    from globaltx_sidecar.ports import Branches, Guards, Meter, Schemas, Traces

DEFAULT_LOCK_WAIT = timedelta(seconds=3)
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one listening side; times in seconds, sizes in bytes."""

    connect_seconds: float = 5.0
    authentication_seconds: float = 30.0
    buffer_bytes: int = 64 * 1024


@dataclass(slots=True)
class Environment:
    """What the connections of one listening side share."""

    datasource: Datasource
    branches: Branches
    schemas: Schemas
    lock_wait: timedelta
    meter: Meter
    limits: Limits
    tls: DatasourceTls
    traces: Traces | None = None
    guards: Guards | None = None
    key: PasswordKey = field(default_factory=PasswordKey)
    stopping: bool = False
    connections: set[Connection] = field(default_factory=set)
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    def opened(self, connection: Connection) -> None:
        """A client has come."""
        self.connections.add(connection)
        self.all_closed.clear()
        self.meter.connection_opened(self.datasource.name)

    def closed(self, connection: Connection) -> None:
        """A client's connection has ended."""
        self.connections.discard(connection)
        self.meter.connection_closed(self.datasource.name)
        if not self.connections:
            self.all_closed.set()


class MysqlServer:
    """A running listening side; made by `serve`."""

    def __init__(self, server: asyncio.Server, environment: Environment) -> None:
        self._server = server
        self._environment = environment

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens (the port that was really taken, if 0 was asked for)."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._environment.connections)

    async def stop(self, grace: timedelta) -> None:
        """Refuse new clients with an error that says so, let running work end, then close.

        Connections that rest are closed at once; others when their local transaction has
        ended, or after ``grace``. Returns then, with every connection closed.
        """
        environment = self._environment
        environment.stopping = True
        for connection in tuple(environment.connections):
            connection.drain()
        try:
            if environment.connections:
                async with asyncio.timeout(grace.total_seconds()):
                    await environment.all_closed.wait()
        except TimeoutError:
            pass
        finally:
            self._server.close()
            for connection in tuple(environment.connections):
                connection.abort()


async def serve(  # noqa: PLR0913  each is a part of its own, most have a default
    settings: DatasourceSettings,
    branches: Branches,
    schemas: Schemas,
    *,
    lock_wait: timedelta = DEFAULT_LOCK_WAIT,
    meter: Meter | None = None,
    limits: Limits | None = None,
    traces: Traces | None = None,
    guards: Guards | None = None,
    credentials: Path = Path(CREDENTIALS_FOLDER),
) -> MysqlServer:
    """Listen at ``settings.listen_host:listen_port`` and pass on to the datasource's database.

    The database need not be there: a client that comes while it is away gets an error that says so.
    ``credentials`` holds a folder for each datasource, with the files of its TLS.

    Raises:
        OSError: the address cannot be listened at.
    """
    environment = Environment(
        datasource=settings.datasource,
        branches=branches,
        schemas=schemas,
        lock_wait=lock_wait,
        meter=meter or NoMeter(),
        limits=limits or Limits(),
        tls=DatasourceTls(settings.datasource.tls, credentials / settings.datasource.name),
        traces=traces,
        guards=guards if settings.datasource.guards_calls else None,
    )
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(environment), settings.listen_host, settings.listen_port, backlog=_BACKLOG
    )
    return MysqlServer(server, environment)
