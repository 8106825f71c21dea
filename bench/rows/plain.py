"""`plain`: statements without an xid, straight to the database and through a sidecar.

Statements and tables are those of sysbench's oltp_point_select and oltp_read_write, sent by our own
driver, which costs less. CPU a query is the time of the process in front, by its own clock; the same
of a forwarder that looks at nothing (on the same loop, uvloop) says what is not ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench import processes
from bench.durable import database
from bench.figures import Figure, ratio
from bench.load import Work, send
from dev.progress import step

if TYPE_CHECKING:
    from bench.options import Options
    from bench.processes import Front, Place

ROWS = 10_000
CPU_US_MAX = 20.0
LEFT_MIN = 0.85
_SQL = f"""
CREATE TABLE sbtest1 (
  id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL DEFAULT 0, c CHAR(120) NOT NULL DEFAULT '',
  pad CHAR(60) NOT NULL DEFAULT '', KEY k_1 (k));
INSERT INTO sbtest1 SELECT seq, seq, REPEAT('0123456789-', 10), REPEAT('9876543210-', 5) FROM seq_1_to_{ROWS};
"""


def measure(options: Options) -> list[Figure]:
    """Point selects and read-write transactions, with 1 and 8 clients."""
    figures: list[Figure] = []
    with (
        database("bench-plain", _SQL) as (place, _),
        processes.running(processes.sidecar, place) as sidecar,
        processes.running(processes.forwarder, place) as forwarder,
    ):
        for work in ("point", "readwrite"):
            for clients in (1, 8):
                with step(f"plain: {work}, {clients} clients"):
                    figures += _alternating(work, clients, options, place, (sidecar, forwarder))
        figures.append(Figure("memory of the sidecar after it", "MiB", (sidecar.resident_mib(),), 80.0))
    return figures


def _alternating(
    work: str, clients: int, options: Options, place: Place, fronts: tuple[Front, Front]
) -> list[Figure]:
    direct: list[float] = []
    through: list[float] = []
    ours: list[float] = []
    blind: list[float] = []
    asked = Work(work, clients, options.seconds, dsn=place.dsn(), rows=ROWS - 100)
    for front in fronts:  # plans, caches and connections are warm then
        send(replace(asked, seconds=0.3, dsn=place.dsn(front.port)))
    for _ in range(options.rounds):
        direct.append(send(asked).queries_per_second)
        per_second, cpu_us = _measured(asked, place, fronts[0])
        through.append(per_second)
        ours.append(cpu_us)
        blind.append(_measured(asked, place, fronts[1])[1])
    name = f"{work}, {clients} {'client' if clients == 1 else 'clients'}"
    return [
        Figure(f"{name}: queries, direct", "/s", tuple(direct), more_is_better=True),
        Figure(f"{name}: queries, through the sidecar", "/s", tuple(through), more_is_better=True),
        ratio(f"{name}: left of direct", through, direct, least=LEFT_MIN if clients == 1 else None),
        Figure(f"{name}: CPU a query, sidecar", "µs", tuple(ours), CPU_US_MAX),
        Figure(f"{name}: CPU a query, blind forwarder", "µs", tuple(blind)),
    ]


def _measured(asked: Work, place: Place, front: Front) -> tuple[float, float]:
    """Queries a second and CPU microseconds a query."""
    before = front.cpu_seconds()
    report = send(replace(asked, dsn=place.dsn(front.port)))
    spent = front.cpu_seconds() - before
    return report.queries_per_second, spent / (report.done * report.queries_per_unit) * 1e6
