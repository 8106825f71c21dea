"""`local`: a local transaction of 4 statements under an xid, and one in autocommit, beside the same bare.

The database is a network away, which a forwarder stands for: every byte is so much later. A round
trip of our own would show as another such delay. The store is in memory, and the application has
joined: what is measured is the way to the database and back.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bench import processes
from bench.durable import database
from bench.figures import Figure, slowdown
from bench.load import Work, send, serving
from dev.progress import step

if TYPE_CHECKING:
    from bench.options import Options
    from bench.processes import Front, Place

DELAYS_MS = (0.0, 0.5, 2.0)
BOUND_AT_MS = 2.0
SQL = """
CREATE TABLE item (id INT PRIMARY KEY, amount INT NOT NULL DEFAULT 0, sold INT NOT NULL DEFAULT 0);
CREATE TABLE moved (id BIGINT PRIMARY KEY, item INT NOT NULL, amount INT NOT NULL);
INSERT INTO item (id) SELECT seq FROM seq_1_to_2000;
"""


def measure(options: Options) -> list[Figure]:
    """Each with each delay."""
    figures: list[Figure] = []
    with database("bench-local", SQL) as (near, server):
        for delay_ms in DELAYS_MS:
            # The xids of the last process are gone with its store; nobody would ever settle them.
            server.execute("TRUNCATE globaltx_undo; TRUNCATE moved;", schema=near.schema)
            with ExitStack() as stack:
                place = near
                if delay_ms:
                    flags = (f"-to={processes.HOST}:{near.port}", f"-round-trip={delay_ms}ms")
                    place = near.at(stack.enter_context(serving("delay", *flags)))
                front = stack.enter_context(processes.running(processes.sidecar, place))
                for prepared in (False, True) if delay_ms == BOUND_AT_MS else (False,):
                    with step(f"local: {delay_ms} ms of delay{', prepared' if prepared else ''}"):
                        figures += _one(options, place, front, delay_ms, prepared=prepared)
    return figures


def _one(options: Options, place: Place, front: Front, delay_ms: float, *, prepared: bool) -> list[Figure]:
    p50: dict[tuple[str, bool], list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for work in ("local", "auto"):
        bare = Work(work, 1, options.seconds / 2, dsn=place.dsn(), prepared=prepared)
        under = Work(
            work, 1, options.seconds / 2, 0, place.dsn(front.port), xids=tuple(front.xids), prepared=prepared
        )
        send(under)
        for _ in range(options.rounds):
            p50.setdefault((work, False), []).append(send(bare).p50_ms)
            before = front.cpu_seconds()
            report = send(under)
            spent = front.cpu_seconds() - before
            p50.setdefault((work, True), []).append(report.p50_ms)
            cpu.setdefault(work, []).append(spent / report.done * 1e6)
    bound = delay_ms == BOUND_AT_MS
    way = ", prepared" if prepared else ""
    figures: list[Figure] = []
    for work, title, most in (("local", "transaction", 1.1), ("auto", "autocommit", None)):
        ours, bare_ms = p50[work, True], p50[work, False]
        name = f"{title}{way}, {delay_ms:g} ms"
        figures += [
            Figure(f"{name}: p50 bare", "ms", tuple(bare_ms)),
            Figure(f"{name}: p50 under an xid", "ms", tuple(ours)),
            slowdown(f"{name}: of bare", ours, bare_ms, most=most if bound and not prepared else None),
            Figure(f"{name}: CPU of the sidecar", "µs", tuple(cpu[work])),
        ]
        if work == "auto" and delay_ms:
            trips = [2 * delay_ms + max(0.0, each - delay_ms) for each in bare_ms]
            limit = 1.2 if bound and not prepared else None
            figures.append(slowdown(f"{name}: of two round trips", ours, trips, most=limit))
    return figures
