"""Several datasources, each with the sidecar of an app in front of it, over one store."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.manifest.settings import DatasourceSettings
from globaltx.stores.memory import Memory, MemoryStore
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.mysql.server import serve
from tests.sidecar.mysql.harness import LOCK_WAIT, Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from globaltx.coordinator.policy import Tls
    from globaltx.transaction.model import Settlement
    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place


class Mesh(Proxy):
    """What one `Proxy` is for one place, for several: begin, connect to any, carry an outcome out in all."""

    def __init__(self, places: list[Place], credentials: Path, tls: Tls | None = None) -> None:
        super().__init__(places[0], credentials, tls=tls)
        self.places = places
        self.ports: list[int] = []
        self._schemas: list[CachedSchemas] = []
        self._carriers: list[PhaseTwo] = []

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        self.store = MemoryStore(Memory(), begin_wait=0.2)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for number, place in enumerate(self.places):
                await self._serve_one(place, f"app-{number}", stack, tasks)
            self._ready.set_result(None)
            await self._done.wait()
            await stack.aclose()

    async def _serve_one(
        self, place: Place, app: str, stack: AsyncExitStack, tasks: asyncio.TaskGroup
    ) -> None:
        datasource = place.datasource(self._datasource.tls)
        database = Database(datasource, str(self._credentials))
        stack.callback(database.close)
        schemas = CachedSchemas(database)
        server = await serve(
            DatasourceSettings(datasource, listen_host="127.0.0.1", listen_port=0),
            Registrar(self.store, app, tasks, Metrics(), wait_seconds=30),
            schemas,
            lock_wait=LOCK_WAIT,
            credentials=self._credentials,
        )
        stack.push_async_callback(server.stop, timedelta(seconds=1))
        self.ports.append(server.address[1])
        self._schemas.append(schemas)
        self._carriers.append(PhaseTwo(database, schemas))

    def reach(self, branch: int, **options: Any) -> Any:
        """Connect to a datasource through its sidecar."""
        return self.places[branch].connect(host="127.0.0.1", port=self.ports[branch], **options)

    def forget_shapes(self) -> None:
        """Let no table be remembered: they are made anew."""

        async def forget() -> None:
            for each in self._schemas:
                each.forget()

        self.call(forget())

    def commit_all(self, xid: Xid) -> None:
        """Phase two of a commit, in every datasource."""
        for each in self._carriers:
            self.call(each.commit([xid]))

    def roll_back_all(self, xid: Xid) -> list[Settlement]:
        """Phase two of a rollback, in every datasource."""
        return [self.call(each.rollback(xid)) for each in self._carriers]
