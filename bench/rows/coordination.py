"""`begin+decide`: a transaction without branches, from begin to its outcome, by the store alone.

Eight at the same time, from one process; with it the writes that the store's server has had for each.
For the Kubernetes store, what the operator writes after the outcome is among them.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.shop import Control
from bench.stores import OwnEtcd
from dev.etcd import Etcd
from dev.progress import step
from globaltx.coordinator.reasons import Reason
from globaltx.transaction.model import Decision, GlobalTransaction
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import RANDOM_BITS, new_xid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.options import Options
    from bench.stores import Measured
    from globaltx.stores.base import Store
    from globaltx.transaction.xid import Xid

AT_A_TIME = 8
_QUIET_SECONDS = 3.0
"""After so long the operator has done its part."""


def measure(options: Options) -> list[Figure]:
    """So many a second, how long each call takes, and how many writes it is; in both stores, in turn."""
    found: dict[str, list[tuple[float, ...]]] = {"kubernetes": [], "etcd": []}
    with _both() as stores, step("begin+decide"):
        for _ in range(options.rounds):
            for name, measured in stores.items():
                found[name].append(asyncio.run(_round(measured, options.seconds)))
    figures: list[Figure] = []
    for name, rounds in found.items():
        rates, begins, decides, writes = (tuple(column) for column in zip(*rounds, strict=True))
        figures += [
            Figure(f"{name}: begin and decide, {AT_A_TIME} at a time", "/s", rates, more_is_better=True),
            Figure(f"{name}: begin, p50", "ms", begins),
            Figure(f"{name}: decide, p50", "ms", decides),
            Figure(f"{name}: writes each, no branches", "", writes),
        ]
    return figures


@contextmanager
def _both() -> Iterator[dict[str, Measured]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        Control(Path(folder)) as control,
        Etcd.up("bench", durable=True) as etcd,
    ):
        yield {"kubernetes": control.measured, "etcd": OwnEtcd(etcd)}


async def _round(measured: Measured, seconds: float) -> tuple[float, ...]:
    begins: list[float] = []
    decides: list[float] = []
    before = measured.writes()
    async with measured.store() as store:
        began = time.perf_counter()
        until = began + seconds
        await asyncio.gather(*(_one_after_the_other(store, until, begins, decides) for _ in range(AT_A_TIME)))
        took = time.perf_counter() - began
        await asyncio.sleep(_QUIET_SECONDS)
    writes = (measured.writes() - before) / len(decides)
    return len(decides) / took, statistics.median(begins), statistics.median(decides), writes


async def _one_after_the_other(store: Store, until: float, begins: list[float], decides: list[float]) -> None:
    while time.perf_counter() < until:
        start = time.perf_counter()
        xid = await begin(store)
        middle = time.perf_counter()
        await decide(store, xid, Outcome.COMMIT)
        begins.append((middle - start) * 1000)
        decides.append((time.perf_counter() - middle) * 1000)


async def begin(store: Store) -> Xid:
    """Begin a transaction of the benchmark's."""
    xid = new_xid("default", int(time.time() * 1000), secrets.randbits(RANDOM_BITS))
    await store.begin(GlobalTransaction(xid, "bench", timedelta(minutes=30)))
    return xid


async def decide(store: Store, xid: Xid, outcome: Outcome) -> None:
    """Take its outcome."""
    reason = Reason.REQUEST_SUCCEEDED if outcome is Outcome.COMMIT else Reason.REQUEST_FAILED
    await store.decide(xid, Decision(outcome, reason, "measured", "bench"))
