"""What a query that passes through the sidecar costs it: CPU microseconds, median and spread of rounds.

The listening side runs in a process of its own, so that its CPU time is nobody else's. A client
in this process sends the same small SELECT over and over; nothing in it carries an xid. The same
is measured of a forwarder that looks at nothing: what is above that is ours. Rounds of the two
alternate, since what else the machine does changes both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import psutil
import pymysql
import uvloop

from dev.databases import MariaDB
from globaltx.coordinator.policy import Datasource
from globaltx.manifest.settings import DatasourceSettings
from globaltx_sidecar.mysql.server import serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from multiprocessing.connection import Connection

    from globaltx.transaction.model import Decision
    from globaltx.transaction.xid import Xid
    from globaltx.undo.shape import TableShape

Start: TypeAlias = "Callable[[str, int], Awaitable[int]]"
"""Starts what is to be measured in front of a database's host and port; gives the port it listens at."""
Client: TypeAlias = "pymysql.Connection[Any]"

ROUNDS = 5
QUERIES = 5_000
_START_SECONDS = 30
_HOST = "127.0.0.1"
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
    """What was measured; ``..._us`` is the CPU time a query of each round, in microseconds."""

    cpu_us: tuple[float, ...]
    forwarder_us: tuple[float, ...]
    direct_queries_per_second: float
    queries_per_second: float

    @property
    def median_us(self) -> float:
        """The middle round of the sidecar."""
        return statistics.median(self.cpu_us)

    def __str__(self) -> str:
        return (
            f"passed-through query: {_spread(self.cpu_us)} of CPU in the sidecar,"
            f" {_spread(self.forwarder_us)} in a forwarder that looks at nothing;"
            f" {self.queries_per_second:,.0f} queries/s on one connection,"
            f" {self.direct_queries_per_second:,.0f} without either"
        )


def _spread(rounds: tuple[float, ...]) -> str:
    return f"{statistics.median(rounds):.1f} us ({min(rounds):.1f} to {max(rounds):.1f})"


class _Blind(asyncio.Protocol):
    """Passes bytes on to its peer and looks at none."""

    def __init__(self, database: tuple[str, int] | None = None, peer: _Blind | None = None) -> None:
        self._database = database
        self._peer = peer
        self._connecting: asyncio.Task[Any] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._database is not None:
            peer = self._peer = _Blind(peer=self)
            loop = asyncio.get_running_loop()
            connecting = loop.create_connection(lambda: peer, *self._database)
            self._connecting = loop.create_task(connecting)

    def data_received(self, data: bytes) -> None:
        if self._peer is not None and self._peer._transport is not None:  # noqa: SLF001  its own kind
            self._peer._transport.write(data)  # noqa: SLF001  its own kind


class _Nobody:
    """There are no branches and no schemas where no statement has an xid."""

    def start(self, xid: Xid, resource: str) -> None:
        raise NotImplementedError

    def has_joined(self, xid: Xid, resource: str) -> bool:
        raise NotImplementedError

    async def joined(self, xid: Xid, resource: str) -> None:
        raise NotImplementedError

    async def outcome(self, xid: Xid) -> Decision | None:
        raise NotImplementedError

    def known(self, schema: str, table: str) -> TableShape | None:
        raise NotImplementedError

    async def shape(self, schema: str, table: str, *, fresh: bool = False) -> TableShape:
        raise NotImplementedError


async def _sidecar(host: str, port: int) -> int:
    datasource = Datasource(name="bench", host=host, schema=_SCHEMA, secret="", port=port)
    settings = DatasourceSettings(datasource, listen_host=_HOST, listen_port=0)
    return (await serve(settings, _Nobody(), _Nobody())).address[1]


async def _forwarder(host: str, port: int) -> int:
    server = await asyncio.get_running_loop().create_server(lambda: _Blind((host, port)), _HOST, 0)
    return int(server.sockets[0].getsockname()[1])


async def _serve(start: Start, port: int, ready: Connection) -> None:
    ready.send(await start(_HOST, port))
    await asyncio.Event().wait()


def _run(start: Start, port: int, ready: Connection) -> None:
    uvloop.run(_serve(start, port, ready))


@contextlib.contextmanager
def _process(start: Start, database: MariaDB) -> Iterator[tuple[psutil.Process, int]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(start, database.port, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_SECONDS):
            message = "the measured process did not start"
            raise RuntimeError(message)
        yield psutil.Process(process.pid), ours.recv()
    finally:
        process.terminate()
        process.join(_START_SECONDS)


def _connect(port: int) -> Client:
    return pymysql.connect(
        host=_HOST, port=port, user=_ACCOUNT, password=_PASSWORD, database=_SCHEMA, autocommit=True
    )


def _seconds(client: Client, queries: int) -> float:
    began = time.perf_counter()
    for _ in range(queries):
        client.query(_QUERY)
    return time.perf_counter() - began


def _cpu_us(process: psutil.Process, client: Client, queries: int) -> float:
    before = process.cpu_times()
    _seconds(client, queries)
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) / queries * 1e6


def measure(*, rounds: int = ROUNDS, queries: int = QUERIES) -> Passthrough:
    """Measure it against a MariaDB of its own."""
    with (
        MariaDB.up("bench-passthrough", durable=False, sql=_SQL) as database,
        _process(_sidecar, database) as (sidecar, sidecar_port),
        _process(_forwarder, database) as (forwarder, forwarder_port),
        contextlib.closing(_connect(database.port)) as direct,
        contextlib.closing(_connect(sidecar_port)) as through,
        contextlib.closing(_connect(forwarder_port)) as blindly,
    ):
        for client in (direct, through, blindly):
            _seconds(client, queries // 10)
        pairs = [
            (_cpu_us(sidecar, through, queries), _cpu_us(forwarder, blindly, queries)) for _ in range(rounds)
        ]
        return Passthrough(
            cpu_us=tuple(ours for ours, _ in pairs),
            forwarder_us=tuple(theirs for _, theirs in pairs),
            direct_queries_per_second=queries / _seconds(direct, queries),
            queries_per_second=queries / _seconds(through, queries),
        )


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--queries", type=int, default=QUERIES, help="a round")
    arguments = parser.parse_args()
    print(measure(rounds=arguments.rounds, queries=arguments.queries))


if __name__ == "__main__":
    main()
