"""What ``/metrics`` shows, all with the prefix ``globaltx_sidecar_``.

Labels are words from a closed set (reasons, outcomes, names of datasources), never an xid, a
path or anything else that a client could make up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

if TYPE_CHECKING:
    from globaltx.coordinator.reasons import Reason

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one sidecar, in a registry of their own."""

    def __init__(self) -> None:
        # A second series for each, which nobody looks at.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library does not type it
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "globaltx_sidecar_requests",
            "Requests by what they meant: Begin, TakePart, Pass, Refuse",
            ["action"],
            registry=registry,
        )
        self.transactions = Counter(
            "globaltx_sidecar_transactions",
            "Transactions that this application began, by outcome and reason",
            ["outcome", "reason"],
            registry=registry,
        )
        self.decide_seconds = Histogram(
            "globaltx_sidecar_decide_seconds",
            "How long a client waited for the outcome to be durable",
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        self.joins = Counter(
            "globaltx_sidecar_joins",
            "Registrations of branches, by result: Joined or a reason",
            ["result"],
            registry=registry,
        )
        self.branches_settled = Counter(
            "globaltx_sidecar_branches_settled",
            "Branches whose phase two is done, by datasource and state",
            ["resource", "state"],
            registry=registry,
        )
        self.branches_waiting = Gauge(
            "globaltx_sidecar_branches_waiting",
            "Branches whose phase two is not done, by datasource",
            ["resource"],
            registry=registry,
        )
        self.phase_two_retries = Counter(
            "globaltx_sidecar_phase_two_retries",
            "Attempts at phase two that failed and are repeated, by datasource and reason",
            ["resource", "reason"],
            registry=registry,
        )
        self.notifications = Counter(
            "globaltx_sidecar_notifications",
            "Attempts to tell an outcome, by result: Delivered, Failed (there are more), GivenUp (the last)",
            ["result"],
            registry=registry,
        )
        self.part_up = Gauge(
            "globaltx_sidecar_part_up",
            "Whether a part of the sidecar works (1) or waits (0); /readyz tells for what",
            ["part"],
            registry=registry,
        )
        self.leader = Gauge(
            "globaltx_sidecar_leader",
            "Whether this sidecar carries out phase two for its application",
            registry=registry,
        )
        self.connections = Gauge(
            "globaltx_sidecar_mysql_connections",
            "Clients of the database that are connected, by datasource",
            ["resource"],
            registry=registry,
        )
        self.statements_refused = Counter(
            "globaltx_sidecar_statements_refused",
            "Statements with an xid that were answered with an error, by datasource and reason",
            ["resource", "reason"],
            registry=registry,
        )
        self.local_commits = Counter(
            "globaltx_sidecar_local_commits",
            "Local transactions with undo records that were committed, by datasource",
            ["resource"],
            registry=registry,
        )
        self._children: dict[tuple[Any, ...], Counter] = {}
        self.lock_wait_seconds = Histogram(
            "globaltx_sidecar_lock_wait_seconds",
            "How long local commits waited for rows of other transactions, by datasource",
            ["resource"],
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )

    def count(self, counter: Counter, *labels: str) -> None:
        """Count one more; the child of these labels is looked up by the library once."""
        known = self._children.get((counter, *labels))
        if known is None:
            known = self._children[(counter, *labels)] = counter.labels(*labels)
        known.inc()

    # What follows is `globaltx_sidecar.ports.Meter`: the MySQL side knows no metrics library.

    def connection_opened(self, resource: str) -> None:
        """See `Meter`."""
        self.connections.labels(resource).inc()

    def connection_closed(self, resource: str) -> None:
        """See `Meter`."""
        self.connections.labels(resource).dec()

    def statement_refused(self, resource: str, reason: Reason) -> None:
        """See `Meter`."""
        self.statements_refused.labels(resource, reason).inc()

    def branch_committed(self, resource: str) -> None:
        """See `Meter`."""
        self.count(self.local_commits, resource)

    def lock_waited(self, resource: str, seconds: float) -> None:
        """See `Meter`."""
        self.lock_wait_seconds.labels(resource).observe(seconds)
