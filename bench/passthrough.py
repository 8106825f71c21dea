"""What a query that passes through the sidecar costs it: CPU microseconds, median and spread of rounds.

The listening side runs in a process of its own, so that its CPU time is nobody else's. A client
in this process sends the same small SELECT over and over; nothing in it carries an xid.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import resource
import signal
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pymysql
import uvloop

from dev.databases import MariaDB
from globaltx.coordinator.policy import Datasource
from globaltx.manifest.settings import DatasourceSettings
from globaltx_sidecar.mysql.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from globaltx.transaction.model import Decision
    from globaltx.transaction.xid import Xid
    from globaltx.undo.shape import TableShape

ROUNDS = 5
QUERIES = 5_000
_START_SECONDS = 30
_ACCOUNT = "bench"
_PASSWORD = "passing through"  # noqa: S105  of a server that ends with this program
_QUERY = "SELECT id, name, amount FROM item WHERE id = 1"
_SCHEMA = "bench_passthrough"
_SQL = f"""
CREATE DATABASE IF NOT EXISTS {_SCHEMA};
CREATE USER IF NOT EXISTS '{_ACCOUNT}'@'%' IDENTIFIED BY '{_PASSWORD}';
GRANT ALL ON {_SCHEMA}.* TO '{_ACCOUNT}'@'%';
CREATE TABLE IF NOT EXISTS {_SCHEMA}.item (id INT PRIMARY KEY, name VARCHAR(64), amount INT);
INSERT IGNORE INTO {_SCHEMA}.item VALUES (1, 'bolt', 100);
"""


@dataclass(frozen=True, slots=True)
class Passthrough:
    """What was measured; ``cpu_us`` is the sidecar's CPU time a query of each round, in microseconds."""

    cpu_us: tuple[float, ...]
    direct_queries_per_second: float
    queries_per_second: float

    @property
    def median_us(self) -> float:
        """The middle round."""
        return statistics.median(self.cpu_us)

    def __str__(self) -> str:
        return (
            f"passed-through query: {self.median_us:.1f} us of CPU in the sidecar"
            f" (median of {len(self.cpu_us)} rounds, {min(self.cpu_us):.1f} to {max(self.cpu_us):.1f});"
            f" {self.queries_per_second:,.0f} queries/s on one connection,"
            f" {self.direct_queries_per_second:,.0f} without the sidecar"
        )


class _Nobody:
    """There are no branches and no schemas where no statement has an xid."""

    def start(self, xid: Xid, resource: str) -> None:
        raise NotImplementedError

    async def joined(self, xid: Xid, resource: str) -> None:
        raise NotImplementedError

    async def outcome(self, xid: Xid) -> Decision | None:
        raise NotImplementedError

    async def shape(self, schema: str, table: str, *, fresh: bool = False) -> TableShape:
        raise NotImplementedError


async def _sidecar(host: str, port: int, ready: Connection) -> None:
    datasource = Datasource(name="bench", host=host, schema=_SCHEMA, secret="", port=port)
    settings = DatasourceSettings(datasource, listen_host="127.0.0.1", listen_port=0)
    server = await serve(settings, _Nobody(), _Nobody())
    ready.send(server.address[1])
    await asyncio.Event().wait()


def _run_sidecar(host: str, port: int, ready: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    uvloop.run(_sidecar(host, port, ready))


@contextlib.contextmanager
def _sidecar_process(database: MariaDB) -> Iterator[tuple[psutil.Process, int]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_sidecar, args=("127.0.0.1", database.port, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_SECONDS):
            message = "the sidecar did not start"
            raise RuntimeError(message)
        yield psutil.Process(process.pid), ours.recv()
    finally:
        process.terminate()
        process.join(_START_SECONDS)


def _connect(port: int) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host="127.0.0.1", port=port, user=_ACCOUNT, password=_PASSWORD, database=_SCHEMA, autocommit=True
    )


def _seconds(connection: pymysql.Connection[Any], queries: int) -> float:
    began = time.perf_counter()
    for _ in range(queries):
        connection.query(_QUERY)
    return time.perf_counter() - began


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(*, rounds: int = ROUNDS, queries: int = QUERIES) -> Passthrough:
    """Measure it against a MariaDB of its own."""
    with (
        MariaDB.up("bench-passthrough", durable=False, sql=_SQL) as database,
        _sidecar_process(database) as (process, port),
        contextlib.closing(_connect(database.port)) as direct,
        contextlib.closing(_connect(port)) as through,
    ):
        _seconds(through, queries // 10)
        cpu_us, seconds = [], []
        for _ in range(rounds):
            before = _cpu_seconds(process)
            seconds.append(_seconds(through, queries))
            cpu_us.append((_cpu_seconds(process) - before) / queries * 1e6)
        bare = _seconds(direct, queries)
    return Passthrough(tuple(cpu_us), queries / bare, queries / statistics.median(seconds))


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--queries", type=int, default=QUERIES, help="a round")
    arguments = parser.parse_args()
    print(measure(rounds=arguments.rounds, queries=arguments.queries))


if __name__ == "__main__":
    main()
