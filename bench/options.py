"""What a run of the benchmark was asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How often, how long, against which store."""

    rounds: int = 5
    seconds: float = 1.5
    """Of load in each round of each thing that is measured."""
    store: str = "etcd"
    growth: tuple[int, ...] = (1_000, 10_000, 100_000)
    """At how many transactions the row of that name looks."""
    open_branches: int = 10_000
    """How many undecided ones the same row adds at last."""
