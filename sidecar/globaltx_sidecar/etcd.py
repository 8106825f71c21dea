"""The etcd of the store: opened, closed, and told about on ``/readyz``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdError, EtcdRefusedError
from globaltx.stores.etcd.requests import Txn, get
from globaltx.stores.etcd.store import EtcdStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from globaltx.manifest.settings import SidecarSettings
    from globaltx_sidecar.health import Health

PART = "etcd"
TELL_SECONDS = 1.0
"""How long a stop waits for branches to be told an outcome; the operator tells the others."""
ASK_SECONDS = 5.0
"""How often etcd is asked whether it is there; a consistent read, so that a lone member cannot say so."""


class Etcd:
    """A client and its store, as an async context manager; ``utc`` is the clock that births are told by.

    Raises:
        EtcdAccessError: the endpoints cannot be used.
    """

    def __init__(
        self,
        settings: SidecarSettings,
        folder: Path | None,
        utc: Callable[[], datetime],
        ask_seconds: float = ASK_SECONDS,
    ) -> None:
        if settings.etcd is None:  # a bug: whoever opens it has looked
            raise RuntimeError
        self._app = settings.app
        self._ask_seconds = ask_seconds
        self._client = EtcdClient(EtcdAccess(settings.etcd.endpoints, folder))
        self.store = EtcdStore(self._client, settings.namespace, prefix=settings.etcd.prefix, utc=utc)
        self._question = Txn(success=(get(self.store.keys.leader(settings.namespace, settings.app)),))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.store.close(grace=TELL_SECONDS)
        await self._client.close()

    async def tell(self, health: Health) -> None:
        """Tell, for ever, whether etcd answers and whether the app's watch of it lives."""
        while True:
            try:
                await self._client.txn(self._question)
            except EtcdError as error:
                refused = isinstance(error, EtcdRefusedError)
                reason = Reason.STORE_REFUSED if refused else Reason.STORE_UNAVAILABLE
                health.waits(PART, reason, str(error))
            else:
                self._tell_of_watch(health)
            await asyncio.sleep(self._ask_seconds)

    def _tell_of_watch(self, health: Health) -> None:
        watch = self.store.health(self._app)
        if watch is not None and watch.last_fault:
            health.waits(PART, Reason.STORE_UNAVAILABLE, f"the watch of open branches: {watch.last_fault}")
        else:
            health.ok(PART)
