"""Finds the declared sagas of an app and has each conducted, while this sidecar leads the app."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.client import Listing
from globaltx.stores.kubernetes.resource import TRANSACTIONS
from globaltx.stores.kubernetes.watcher import Watcher
from globaltx.transaction.xid import Xid
from globaltx_sidecar.saga.caller import StepCaller
from globaltx_sidecar.saga.performance import Performance
from globaltx_sidecar.saga.records import SagaRecords

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Egress
    from globaltx.stores.kubernetes.client import KubernetesClient, WatchEvent

_log = logging.getLogger(__name__)


class Conductor:
    """Conducts the sagas of one app; ``policies`` are those it was injected by."""

    def __init__(
        self,
        client: KubernetesClient,
        namespace: str,
        app: str,
        pod: str,
        policies: Iterable[str],
        egress: tuple[Egress, ...],
    ) -> None:
        self._egress = egress
        self._running: dict[Xid, Performance] = {}
        self._client = client
        self._namespace = namespace
        self._app = app
        self._pod = pod
        self._policies = frozenset(policies)

    def allow(self, egress: tuple[Egress, ...]) -> None:
        """Say anew where steps may be called; what could not be called before is looked at again."""
        if egress != self._egress:
            self._egress = egress
            for each in self._running.values():
                each.woken.set()

    async def lead(self, epoch: int) -> None:
        """Conduct, for ever; ``epoch`` is the term's number."""
        _log.info("conducting the sagas of %s, epoch %d", self._app, epoch)
        fields = (
            f"spec.initiator={self._app},spec.saga.recovery!=,"
            "status.state!=Committed,status.state!=RolledBack"
        )
        watcher = Watcher(self._client, TRANSACTIONS, self._namespace, fields=fields)
        running: dict[Xid, Performance] = {}
        self._running = running
        async with (
            StepCaller() as caller,
            asyncio.TaskGroup() as tasks,
            aclosing(watcher.follow()) as seen,
        ):
            async for each in seen:
                for xid in _xids(each):
                    if xid not in running:
                        self._start(running, self._performance(xid, caller, tasks), xid, tasks)
                    running[xid].woken.set()

    def _performance(self, xid: Xid, caller: StepCaller, tasks: asyncio.TaskGroup) -> Performance:
        records = SagaRecords(self._client, self._namespace, self._app)
        return Performance(xid, self._pod, records, caller, self._allowed, tasks, self._client.utc)

    def _start(
        self, running: dict[Xid, Performance], this: Performance, xid: Xid, tasks: asyncio.TaskGroup
    ) -> None:
        running[xid] = this
        task = tasks.create_task(this.run(), name=f"saga {xid}")

        def over(ended: asyncio.Task[None]) -> None:
            del running[xid]
            if this.woken.is_set() and not ended.cancelled() and ended.exception() is None:
                self._start(running, this, xid, tasks)  # something was heard in the last moment

        task.add_done_callback(over)

    def _allowed(self, policy: str) -> tuple[Egress, ...]:
        """Where a saga that names this policy may call: nowhere if it is not one of ours."""
        return self._egress if policy in self._policies else ()


def _xids(seen: Listing | WatchEvent) -> list[Xid]:
    objects = seen.items if isinstance(seen, Listing) else (seen.object,)
    return [Xid(each["metadata"]["namespace"], each["metadata"]["name"]) for each in objects]
