"""The local API on a free port of loopback, over a memory store that can be away."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from globaltx.coordinator.policy import Egress
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.memory import Memory, MemoryStore
from globaltx_sidecar.http.initiator import Initiator, Origin
from globaltx_sidecar.local.server import serve
from globaltx_sidecar.local.service import LocalService
from globaltx_sidecar.notify.sender import Sender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EGRESS = Egress("billing.shop.svc", (8080,), ("/outcomes",))
"""Where outcomes may be told."""
ORIGIN = Origin("shop", "worker", "worker-0", "", timedelta(hours=1))


@dataclass
class Scene:
    """``away`` holds the calls of the store that do not come through."""

    url: str
    memory: Memory
    store: MemoryStore
    away: set[str]


@asynccontextmanager
async def local_api(*, callable_: bool = True, tells: bool = True) -> AsyncIterator[Scene]:
    """Run it."""
    away: set[str] = set()

    async def hook(call: str, when: str) -> None:
        if call in away and when == "before":
            message = "lost on the way"
            raise StoreUnavailableError(message)

    memory = Memory()
    store = MemoryStore(memory, begin_wait=0.05, hook=hook)
    async with asyncio.TaskGroup() as tasks:
        initiator = Initiator(store, ORIGIN, tasks, wait_seconds=0.2)
        sender = Sender([EGRESS], Path("no keys: nothing is sent here")) if tells else None
        service = LocalService(store, initiator, callable_=callable_, sender=sender, wait_seconds=0.2)
        server = await serve(service, 0)
        try:
            yield Scene(f"http://127.0.0.1:{server.address[1]}", memory, store, away)
        finally:
            await server.stop()
