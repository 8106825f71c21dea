from __future__ import annotations

from bench.__main__ import LOCK
from bench.resting import NAME as RESTING
from bench.shop import NAME
from dev.cluster import cluster


def test_a_benchmark_does_not_wait_for_itself() -> None:
    assert LOCK not in {cluster._lock(name) for name in (NAME, RESTING)}
