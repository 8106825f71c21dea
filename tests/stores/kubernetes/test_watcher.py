"""A watch that goes on, whatever happens to the connection and to the API server."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from globaltx.stores.base import StoreRefusedError
from globaltx.stores.kubernetes.client import EventType, KubernetesClient, Listing, PatchKind, WatchEvent
from globaltx.stores.kubernetes.errors import KubernetesError
from globaltx.stores.kubernetes.resource import BRANCHES, CONFIG_MAPS, NAMESPACES, TRANSACTIONS, Resource
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.stores.kubernetes.watcher import Backoff, Watcher
from globaltx.transaction.model import Mode
from tests.stores.harness import COMMIT, any_xid, branch, eventually, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from dev.cluster import Cluster
    from globaltx.stores.kubernetes.access import Access
    from globaltx.transaction.xid import Xid
    from tests.stores.cable import Cable

QUICK = Backoff(first=0.05, most=0.2)


class Seen:
    """What a watcher has yielded so far, gathered by a task."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.listings = 0
        self.versions: dict[str, str] = {}
        self._changed = asyncio.Condition()

    async def gather(self) -> None:
        async with aclosing(self.watcher.follow()) as seen:
            async for each in seen:
                async with self._changed:
                    self._note(each)
                    self._changed.notify_all()

    def _note(self, each: Listing | WatchEvent) -> None:
        if isinstance(each, Listing):
            self.listings += 1
            self.versions = {_name(item): _value(item) for item in each.items}
        elif each.type is EventType.DELETED:
            self.versions.pop(_name(each.object), None)
        else:
            self.versions[_name(each.object)] = _value(each.object)

    async def until_it_is(self, name: str, value: str) -> None:
        await self.until(lambda: self.versions.get(name) == value)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(holds)


def _name(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def _value(item: dict[str, Any]) -> str:
    return str((item.get("data") or {}).get("value"))


@asynccontextmanager
async def following(watcher: Watcher) -> AsyncIterator[Seen]:
    seen = Seen(watcher)
    task = asyncio.create_task(seen.gather())
    try:
        await seen.until(lambda: seen.listings > 0)
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled(), task.exception()


def config_map(name: str, value: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"test": "yes"}}, "data": {"value": value}}


async def repeated(call: Callable[[], Awaitable[object]]) -> None:
    """Call until it succeeds: right after a restart an API server refuses for a moment."""

    async def succeeds() -> bool:
        try:
            await call()
        except KubernetesError:
            return False
        return True

    await eventually(succeeds)


async def test_it_lists_and_follows(kubernetes: KubernetesClient, namespace: str) -> None:
    await kubernetes.create(CONFIG_MAPS, config_map("before"), namespace)
    async with following(Watcher(kubernetes, CONFIG_MAPS, namespace, labels="test=yes")) as seen:
        assert seen.versions == {"before": "1"}
        await kubernetes.create(CONFIG_MAPS, config_map("after"), namespace)
        await kubernetes.patch(CONFIG_MAPS, "before", {"data": {"value": "2"}}, namespace)
        await seen.until(lambda: seen.versions == {"before": "2", "after": "1"})
        await kubernetes.delete(CONFIG_MAPS, "before", namespace)
        await seen.until(lambda: seen.versions == {"after": "1"})
        health = seen.watcher.health
        assert (seen.listings, health.synced, health.faults, health.last_fault) == (1, True, 0, "")


async def test_bookmarks_keep_the_position_young(kubernetes: KubernetesClient, namespace: str) -> None:
    watcher = Watcher(kubernetes, CONFIG_MAPS, namespace, labels="test=yes", watch_seconds=4)
    async with following(watcher) as seen:
        # A change that this watch does not see: only a bookmark can tell of it.
        made = await kubernetes.create(CONFIG_MAPS, {"metadata": {"name": "unseen"}}, namespace)
        await eventually(lambda: int(watcher._version or 0) >= int(made["metadata"]["resourceVersion"]))
        assert (seen.listings, seen.versions) == (1, {})


class CountingClient(KubernetesClient):
    watches = 0

    def watch(self, *given: Any, **chosen: Any) -> AsyncGenerator[WatchEvent, None]:
        self.watches += 1
        return super().watch(*given, **chosen)


async def test_a_watch_that_ends_is_resumed_without_a_list(access: Access, namespace: str) -> None:
    async with CountingClient(access) as client:
        watcher = Watcher(client, CONFIG_MAPS, namespace, labels="test=yes", watch_seconds=2)
        async with following(watcher) as seen:
            for value in range(1, 4):
                await _put(client, namespace, config_map("one", str(value)))
                await seen.until_it_is("one", str(value))
                await eventually(partial(_watched_more_than, client, value))
            assert (seen.listings, watcher.health.faults) == (1, 0)


def _watched_more_than(client: CountingClient, times: int) -> bool:
    return client.watches > times


async def _put(client: KubernetesClient, namespace: str, body: dict[str, Any]) -> None:
    await client.patch(CONFIG_MAPS, body["metadata"]["name"], body, namespace, kind=PatchKind.APPLY)


async def test_nothing_is_missed_over_a_cut(
    kubernetes: KubernetesClient, namespace: str, by_cable: Access, cable: Cable
) -> None:
    async with KubernetesClient(by_cable, timeout=2) as client:
        watcher = Watcher(client, CONFIG_MAPS, namespace, labels="test=yes", backoff=QUICK)
        async with following(watcher) as seen:
            for cut in range(3):
                cable.cut()
                await eventually(lambda: watcher.health.faults > 0)
                assert watcher.health.last_fault
                await kubernetes.create(CONFIG_MAPS, config_map(f"cut-{cut}"), namespace)
                cable.mend()
                await seen.until_it_is(f"cut-{cut}", "1")
                await eventually(lambda: watcher.health.faults == 0)
                assert watcher.health.last_fault == ""


async def compact(cluster: Cluster) -> None:
    """Let etcd forget all versions but the present ones."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{cluster.settings.ports['etcd']}") as etcd:
        async with etcd.post("/v3/kv/range", json={"key": "AA=="}) as answer:
            revision = (await answer.json())["header"]["revision"]
        async with etcd.post("/v3/kv/compaction", json={"revision": revision, "physical": True}) as answer:
            assert answer.ok, await answer.text()


async def test_it_survives_a_killed_api_server(
    control_plane: Cluster, kubernetes: KubernetesClient, namespace: str
) -> None:
    watcher = Watcher(kubernetes, CONFIG_MAPS, namespace, labels="test=yes", backoff=QUICK)
    async with following(watcher) as seen:
        await asyncio.to_thread(control_plane.crash, "kube-apiserver")
        await eventually(lambda: watcher.health.faults > 0)
        await asyncio.to_thread(control_plane.start, "kube-apiserver")
        await repeated(lambda: kubernetes.create(CONFIG_MAPS, config_map("after"), namespace))
        await seen.until(lambda: "after" in seen.versions)


async def test_it_lists_anew_when_its_position_was_compacted_away(
    control_plane: Cluster, kubernetes: KubernetesClient, namespace: str, by_cable: Access, cable: Cable
) -> None:
    async with KubernetesClient(by_cable, timeout=2) as client:
        watcher = Watcher(client, CONFIG_MAPS, namespace, labels="test=yes", backoff=QUICK)
        async with following(watcher) as seen:
            cable.cut()
            await kubernetes.create(CONFIG_MAPS, config_map("meanwhile"), namespace)
            await kubernetes.create(CONFIG_MAPS, config_map("gone"), namespace)
            await kubernetes.delete(CONFIG_MAPS, "gone", namespace)
            await compact(control_plane)
            # Its memory of the past goes with the process, etcd's is gone already.
            await asyncio.to_thread(control_plane.crash, "kube-apiserver")
            await asyncio.to_thread(control_plane.start, "kube-apiserver")
            cable.mend()
            await seen.until(lambda: seen.listings > 1)
            assert seen.versions == {"meanwhile": "1"}


async def test_the_stores_watch_survives_a_killed_api_server(
    control_plane: Cluster, kubernetes: KubernetesClient, namespace: str
) -> None:
    store = KubernetesStore(kubernetes, namespace, repeat_for=60)

    async def decided() -> Xid:
        xid = any_xid(namespace)
        await store.begin(transaction(xid))
        await store.join(branch(xid), Mode.AT)
        await store.decide(xid, COMMIT)
        await store.stamp(xid)
        return xid

    assert store.health("shop") is None
    async with asyncio.timeout(90), aclosing(store.watch("shop")) as watch:
        before = await decided()
        assert (await anext(watch)).id.xid == before
        await asyncio.to_thread(control_plane.crash, "kube-apiserver")
        await asyncio.to_thread(control_plane.start, "kube-apiserver")
        after = await decided()
        while (await anext(watch)).id.xid != after:
            pass
    health = store.health("shop")
    assert health is not None
    assert health.synced


async def test_foreign_objects_do_not_disturb_the_stores_watch(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    """Branches that somebody else wrote, of another namespace, or without any transaction."""
    other = f"t-{secrets.token_hex(6)}"
    await kubernetes.create(NAMESPACES, {"metadata": {"name": other}})
    for where, name, app in ((other, "x", "shop"), (namespace, "y", "shop-2"), (namespace, "z", "shop")):
        spec = {"transaction": "nobody", "app": app, "resource": "r", "outcome": "Commit"}
        await kubernetes.create(BRANCHES, {"metadata": {"name": name}, "spec": spec}, where)
    store = KubernetesStore(kubernetes, namespace)
    async with asyncio.timeout(30), aclosing(store.watch("shop")) as watch:
        found = await anext(watch)
    assert (found.id.xid.name, found.id.app) == ("nobody", "shop")


async def test_a_fault_that_lasts_is_told_and_waited_for(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    watcher = Watcher(kubernetes, Resource("none.io", "v1", "ghosts", "Ghost"), namespace, backoff=QUICK)
    task = asyncio.create_task(Seen(watcher).gather())
    await eventually(lambda: watcher.health.faults > 6)
    assert "ghosts" in watcher.health.last_fault
    assert not watcher.health.synced
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


def test_delays_grow_up_to_a_bound_and_differ() -> None:
    backoff = Backoff(first=0.2, most=10)
    assert [backoff.delay(faults, 0.999999) for faults in (1, 2, 3)] == pytest.approx(
        [0.2, 0.4, 0.8], rel=0.01
    )
    assert backoff.delay(1, 0.0) == 0.1
    assert backoff.delay(10**9, 0.0) == 5.0
    assert backoff.delay(1, 0.0, asked=3.0) == 3.0
    assert backoff.delay(1, 0.0, asked=10**6) == 10.0


async def test_only_one_namespace_is_a_stores_own(kubernetes: KubernetesClient, namespace: str) -> None:
    store = KubernetesStore(kubernetes, namespace)
    foreign = any_xid("elsewhere")
    with pytest.raises(StoreRefusedError, match="one namespace"):
        await store.join(branch(foreign), Mode.AT)
    assert (await kubernetes.list(TRANSACTIONS, namespace)).items == ()
