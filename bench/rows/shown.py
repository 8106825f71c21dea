"""`shown`: how long until a transaction that is kept in etcd is seen as resources, while orders run.

Eight clients send orders. By the usual projection (`Unsettled`) those are not shown, because they end within
their first second. Beside them a transaction of two branches is begun each half second and stays open. It is
asked of the API server's watches, as `kubectl get -w` does: how long from before its begin until the
GlobalTransaction and both Branches are there, and how long from its outcome, once that is durable, until
all three bear it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from bench.figures import Figure
from bench.load import send
from bench.rows.coordination import begin, decide
from bench.shop import Shop
from dev.progress import step
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.projected import LABEL_PROJECTED
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import EventType, KubernetesClient, Listing
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.stores.kubernetes.watcher import Watcher
from globaltx.transaction.model import BranchId, Mode, Settlement
from globaltx.transaction.states import Outcome, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bench.options import Options
    from globaltx.stores.base import Store

SECONDS_MAX = 2.0
CLIENTS = 8
A_ROUND = 8
EVERY_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
_APPS = ("one", "another")
_NAMESPACE = "default"


def measure(options: Options) -> list[Figure]:
    """Both ways, the middle and the most of each round's."""
    with Shop("etcd") as shop, step("shown: while orders run"):
        _load(shop, 1.0)  # warm
        rounds = [asyncio.run(_round(shop)) for _ in range(options.rounds)]
    figures: list[Figure] = []
    for since, seen in zip(("begin", "outcome"), zip(*rounds, strict=True), strict=True):
        figures += [
            Figure(f"{since} to seen, p50", "s", tuple(map(statistics.median, seen)), SECONDS_MAX),
            Figure(
                f"{since} to seen, most", "s", tuple(map(max, seen)), SECONDS_MAX, f"of {A_ROUND} each round"
            ),
        ]
    return figures


def _load(shop: Shop, seconds: float) -> None:
    send(shop.orders(hinted=True, clients=CLIENTS, seconds=seconds))


async def _round(shop: Shop) -> tuple[list[float], list[float]]:
    """Seconds from the begins, and from the outcomes."""
    async with (
        KubernetesClient(from_kubeconfig(str(shop.cluster.kubeconfig))) as client,
        _watching(client) as seen,
        shop.measured.store() as store,
    ):
        load = asyncio.create_task(asyncio.to_thread(_load, shop, (A_ROUND + 4) * EVERY_SECONDS))
        probes = []
        for _ in range(A_ROUND):
            probes.append(asyncio.create_task(_probe(store, seen)))
            await asyncio.sleep(EVERY_SECONDS)
        times = await asyncio.gather(*probes)
        await load
    shop.settle()
    begins, outcomes = zip(*times, strict=True)
    return list(begins), list(outcomes)


async def _probe(store: Store, seen: _Seen) -> tuple[float, float]:
    """One transaction, from its begin to its end."""
    began = time.perf_counter()
    xid = await begin(store)
    branches = [BranchId(xid, app, "orders") for app in _APPS]
    for each in branches:
        await store.join(each, Mode.AT)
    names = {xid.name, *(each.name for each in branches)}
    await seen.until(lambda shown: names <= shown.keys())
    shown_after = time.perf_counter() - began
    await decide(store, xid, Outcome.COMMIT)
    decided = time.perf_counter()
    await seen.until(lambda shown: all("outcome" in shown.get(name, ()) for name in names))
    outcome_after = time.perf_counter() - decided
    for each in branches:
        await store.settle(each, Settlement(State.COMMITTED, Reason.COMMITTED))
    return shown_after, outcome_after


class _Seen:
    """What the API server shows, as its watches tell."""

    def __init__(self) -> None:
        self._shown: dict[str, dict[str, Any]] = {}
        """Specs by name; those of both kinds, whose names differ."""
        self._news = asyncio.Condition()

    async def until(self, check: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
        """Return when this holds."""
        async with asyncio.timeout(_PATIENCE_SECONDS), self._news:
            await self._news.wait_for(lambda: check(self._shown))

    async def follow(self, watcher: Watcher, listed: asyncio.Event) -> None:
        """Take in what a watch tells, for ever."""
        async with aclosing(watcher.follow()) as told:
            async for each in told:
                if isinstance(each, Listing):
                    listed.set()
                elif each.type in {EventType.ADDED, EventType.MODIFIED}:
                    await self._take(each.object)

    async def _take(self, found: dict[str, Any]) -> None:
        async with self._news:
            self._shown[found["metadata"]["name"]] = found["spec"]
            self._news.notify_all()


@asynccontextmanager
async def _watching(client: KubernetesClient) -> AsyncIterator[_Seen]:
    seen = _Seen()
    async with asyncio.TaskGroup() as group:
        following = []
        for kind in (TRANSACTIONS, BRANCHES):
            listed = asyncio.Event()
            watcher = Watcher(client, kind, _NAMESPACE, labels=LABEL_PROJECTED)
            following.append(group.create_task(seen.follow(watcher, listed)))
            await listed.wait()
        yield seen
        for each in following:
            each.cancel()
