"""What the operator waits for by itself before it shows something; the machine's part is not in it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.model import GlobalTransaction, Mode
from globaltx_operator.cache import Cache
from globaltx_operator.etcd import REST_SECONDS, EtcdKeeper
from globaltx_operator.events import Recorder
from globaltx_operator.metrics import Metrics
from globaltx_operator.policies import PolicyCache
from globaltx_operator.projection import Projector
from globaltx_operator.queue import WorkQueue
from globaltx_operator.rate import TokenBucket
from tests.operator.replicas import Field, eventually
from tests.stores.harness import COMMIT, any_xid, branch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dev.etcd import Etcd
    from globaltx.transaction.xid import Xid

pytestmark = [pytest.mark.control_plane, pytest.mark.etcd]
PROMISED = timedelta(seconds=2)
HOUR = timedelta(hours=1)


class Waits:
    """The longest that each of the operator's queues lets news wait; here none has to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._longest: dict[int, float] = {}
        add_later = WorkQueue.add_later

        def at_once(queue: WorkQueue[Xid], key: Xid, seconds: float) -> None:
            if key not in queue._busy:  # else it is a wish for another look, without news
                self._longest[id(queue)] = max(seconds, self._longest.get(id(queue), 0.0))
                seconds = 0.0
            add_later(queue, key, seconds)

        monkeypatch.setattr(WorkQueue, "add_later", at_once)

    def taken(self) -> timedelta:
        """One after another, behind the watch of etcd; then it is counted anew."""
        found = timedelta(seconds=REST_SECONDS + sum(self._longest.values()))
        self._longest.clear()
        return found


@asynccontextmanager
async def showing(field: Field, etcd: Etcd, prefix: str) -> AsyncIterator[EtcdStore]:
    """The operator's parts for an etcd, which show what is kept there; and a sidecar's store."""
    async with EtcdClient(EtcdAccess(etcd.endpoints)) as client:
        everywhere = EtcdStore(client, None, prefix=prefix)
        recorder = Recorder(field.client, "test", utc)
        projector = Projector(field.client, PolicyCache(), recorder, utc, TokenBucket(50, 50))
        metrics = Metrics(Cache())
        keeper = EtcdKeeper(client, everywhere, metrics, utc, compact_seconds=0, projector=projector)
        running = asyncio.create_task(keeper.run())
        store = EtcdStore(client, field.namespace, prefix=prefix)
        try:
            yield store
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})
            await store.close()
            await everywhere.close()


def utc() -> datetime:
    return datetime.now(UTC)


async def test_it_waits_for_less_than_two_seconds(
    field: Field, etcd: Etcd, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    xid = any_xid(field.namespace)

    async def branches_are_shown() -> bool:
        return len(await field.branches(xid)) == 1

    async def outcome_is_shown() -> bool:
        shown = [await field.transaction(xid), *await field.branches(xid)]
        return all(each and each["spec"].get("outcome") == "Commit" for each in shown)

    async with showing(field, etcd, prefix) as store:
        waits = Waits(monkeypatch)
        await store.begin(GlobalTransaction(xid, "order", HOUR))
        await store.join(branch(xid), Mode.AT)
        await eventually("it is shown", branches_are_shown)
        assert waits.taken() < PROMISED
        await store.decide(xid, COMMIT)
        await eventually("its outcome is shown", outcome_is_shown)
        assert waits.taken() < PROMISED
