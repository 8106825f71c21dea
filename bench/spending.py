"""The CPU time that a load costs: ours, and that of the store's own etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.figures import Figure
from bench.processes import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.sidecar.programs import Program


class Spent(NamedTuple):
    """CPU time up to now, in seconds, or what one transaction costs of it, in milliseconds."""

    ours: float
    """Of the sidecars and the operator together."""
    etcd: float
    """None where the store has no etcd of its own."""

    def each(self, before: Spent, done: int) -> Spent:
        """What each of so many transactions since then has cost."""
        return Spent(*((now - then) / done * 1000 for now, then in zip(self, before, strict=True)))


def cpu_figures(name: str, rounds: Sequence[Spent]) -> list[Figure]:
    """The figures of what each transaction cost, round by round."""
    ours, etcd = zip(*rounds, strict=True)
    figures = [Figure(f"{name}: CPU of the three sidecars and the operator, each", "ms", ours)]
    return figures + ([Figure(f"{name}: CPU of etcd, each", "ms", etcd)] if any(etcd) else [])


def cpu_of(programs: Iterable[Program]) -> float:
    """The CPU time that programs that were started have taken together, in seconds."""
    return sum(cpu_seconds(each.process.pid) for each in programs if each.process is not None)
