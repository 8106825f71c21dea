"""What the operator counts, for Prometheus; labels hold words of ours only, so their number is bounded."""

from __future__ import annotations

from collections import Counter as Counter_
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import END_OF, ENDS, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from globaltx.coordinator.conditions import Status
    from globaltx.coordinator.observed import Observed
    from globaltx.transaction.states import Outcome
    from globaltx_operator.cache import Cache

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REASONS = frozenset(map(str, Reason))
_LIFETIMES = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The counters of one operator."""

    def __init__(self, cache: Cache) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge(
            "globaltx_operator_leader", "1 while this replica carries out.", registry=self.registry
        )
        self.decisions = Counter(
            "globaltx_decisions",
            "Outcomes that were seen taken, by reason.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.ended = Counter("globaltx_ended", "Transactions that ended.", ["state"], registry=self.registry)
        self.settling = Histogram(
            "globaltx_settling_seconds",
            "From the outcome to the last settled branch, as the operator saw both.",
            buckets=_LIFETIMES,
            registry=self.registry,
        )
        self.pass_seconds = Histogram(
            "globaltx_operator_pass_seconds",
            "One pass: gather, decide, carry out.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.uninjected = Gauge(
            "globaltx_pods_without_sidecar",
            "Pods that asked for a sidecar and run without one, as the leader last saw.",
            registry=self.registry,
        )
        self._states = _States(cache.states)
        self.registry.register(self._states)

    def queue(self, name: str, depth: Callable[[], float]) -> None:
        """Show how much waits in a queue."""
        gauge = Gauge(
            f"globaltx_operator_{name}_queue_depth",
            "Keys that wait for a worker or have one.",
            registry=self.registry,
        )
        gauge.set_function(depth)

    def kept(self, states: Callable[[], Counter_[State]]) -> None:
        """Count those of another store in."""
        self._states.sources.append(states)

    def moved(self, before: Observed, status: Status) -> None:
        """Count what a written status tells against the one before."""
        decision = before.transaction.decision
        if decision is not None and before.status.state is State.ACTIVE:
            self._decided(decision.outcome, decision.reason)
        if status.state in ENDS and before.status.state not in ENDS:
            self.ended.labels(str(status.state)).inc()
            decided_at = before.status.decided_at  # of a quick one only the end is written
            if status.settled_at is not None and decided_at is not None:
                self.settling.observe((status.settled_at - decided_at).total_seconds())

    def passed(self, outcome: Outcome, reason: str) -> None:
        """Count a transaction that had ended before it was looked at."""
        self._decided(outcome, reason)
        self.ended.labels(str(END_OF[outcome])).inc()

    def _decided(self, outcome: Outcome, reason: str) -> None:
        self.decisions.labels(str(outcome), reason if reason in _REASONS else "Other").inc()

    def exposed(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


class _States(Collector):
    """Counts the cache when asked, so that it can never drift."""

    def __init__(self, states: Callable[[], Counter_[State]]) -> None:
        self.sources = [states]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("globaltx_transactions", "Transactions by state.", labels=["state"])
        counted = sum((states() for states in self.sources), Counter_[State]())
        for state in State:
            family.add_metric([str(state)], counted[state])
        yield family
