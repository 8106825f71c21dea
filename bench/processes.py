"""What stands in front of a database in a process of its own, so that its CPU time is nobody else's.

The MySQL side of a sidecar over the memory store (the protocol's simplest, so that only the data
path is measured), and a forwarder that looks at nothing: what is above that is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import secrets
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import psutil
import uvloop

from globaltx.coordinator.policy import Datasource
from globaltx.manifest.settings import DatasourceSettings
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.xid import RANDOM_BITS, new_xid
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.mysql.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from multiprocessing.connection import Connection

Serve: TypeAlias = "Callable[[Place, Connection], Coroutine[Any, Any, None]]"

START_SECONDS = 30
HOST = "127.0.0.1"
XIDS = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A schema in a running database, and the account that everybody uses."""

    port: int
    schema: str
    user: str
    password: str

    def at(self, port: int) -> Place:
        """The same, reached by another port."""
        return replace(self, port=port)

    def dsn(self, port: int | None = None) -> str:
        """How the load connects, by another port if one is given."""
        return f"{self.user}:{self.password}@tcp({HOST}:{port or self.port})/{self.schema}"


@dataclass(slots=True)
class Front:
    """A running process in front of a database; ``xids`` are begun in its store."""

    process: psutil.Process
    port: int
    xids: list[str]

    def cpu_seconds(self) -> float:
        """The CPU time that it has taken."""
        return cpu_seconds(self.process.pid)

    def resident_mib(self) -> float:
        """The memory that it keeps."""
        return float(self.process.memory_info().rss) / 2**20


def cpu_seconds(process: int) -> float:
    """The CPU time of a process, by the scheduler's own clock: that of the accounts has steps of 10 ms."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


class _Blind(asyncio.Protocol):
    """Passes bytes on to its peer and looks at none."""

    def __init__(self, database: tuple[str, int] | None = None, peer: _Blind | None = None) -> None:
        self._database = database
        self._peer = peer
        self._connecting: asyncio.Task[Any] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._database is not None:
            peer = self._peer = _Blind(peer=self)
            loop = asyncio.get_running_loop()
            connecting = loop.create_connection(lambda: peer, *self._database)
            self._connecting = loop.create_task(connecting)

    def data_received(self, data: bytes) -> None:
        if self._peer is not None and self._peer._transport is not None:  # noqa: SLF001  its own kind
            self._peer._transport.write(data)  # noqa: SLF001  its own kind

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._peer is not None and self._peer._transport is not None:  # noqa: SLF001  its own kind
            self._peer._transport.close()  # noqa: SLF001  its own kind


async def forwarder(place: Place, ready: Connection) -> None:
    """Pass bytes on."""
    server = await asyncio.get_running_loop().create_server(lambda: _Blind((HOST, place.port)), HOST, 0)
    ready.send((int(server.sockets[0].getsockname()[1]), []))
    await asyncio.Event().wait()


async def sidecar(place: Place, ready: Connection) -> None:
    """Be the MySQL side of a sidecar."""
    datasource = Datasource(name="bench", host=HOST, schema=place.schema, secret="", port=place.port)
    with tempfile.TemporaryDirectory() as folder:
        credentials = Path(folder) / datasource.name
        credentials.mkdir()
        (credentials / "username").write_text(place.user)
        (credentials / "password").write_text(place.password)
        database = Database(datasource, folder)
        store = MemoryStore(Memory())
        xids = [new_xid("bench", int(time.time() * 1000), secrets.randbits(RANDOM_BITS)) for _ in range(XIDS)]
        for xid in xids:
            await store.begin(GlobalTransaction(xid, "bench", timedelta(hours=1)))
        async with asyncio.TaskGroup() as tasks:
            settings = DatasourceSettings(datasource, listen_host=HOST, listen_port=0)
            registrar = Registrar(store, "bench", tasks, Metrics())
            server = await serve(settings, registrar, CachedSchemas(database), credentials=Path(folder))
            ready.send((server.address[1], [str(xid) for xid in xids]))
            await asyncio.Event().wait()


def _run(start: Serve, place: Place, ready: Connection) -> None:
    uvloop.run(start(place, ready))


@contextlib.contextmanager
def running(start: Serve, place: Place) -> Iterator[Front]:
    """Run one of the two."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(start, place, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(START_SECONDS):
            message = "the measured process did not start"
            raise RuntimeError(message)
        port, xids = ours.recv()
        yield Front(psutil.Process(process.pid), port, xids)
    finally:
        process.terminate()
        process.join(START_SECONDS)
