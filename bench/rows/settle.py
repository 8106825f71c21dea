"""`settle`: from the outcome to the data restored, one at a time, and a thousand that wait together.

One at a time: an order that fails at last is answered once its outcome is durable; from then on the
database is asked until its undo records are gone. A thousand: the same code of phase two, over the
memory store, so that it is the database's part that is measured; the outcomes are there before it starts.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import uvloop

from bench.durable import database
from bench.figures import Figure
from bench.load import Work, send
from bench.processes import HOST
from bench.rows.coordination import decide
from bench.rows.local import SQL
from bench.shop import Shop
from dev.progress import step
from dev.waiting import wait_for
from globaltx.coordinator.policy import Datasource
from globaltx.manifest.settings import DatasourceSettings
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import RANDOM_BITS, new_xid
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.database_desk import DatabaseDesk
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.mysql.server import serve

if TYPE_CHECKING:
    from bench.options import Options
    from bench.processes import Place

PENDING = 1000
DRAIN_SECONDS_MAX = 5.0
RESTORED_MS_MAX = 10.0
ONE_BY_ONE = 10
_CLIENTS = 50


def measure(options: Options) -> list[Figure]:
    """Both."""
    with step("settle: one at a time"):
        singles = _one_by_one(options)
    with step(f"settle: {PENDING} pending"):
        drained = _drained(options.rounds)
    return [
        Figure("outcome to restored, p50", "ms", tuple(map(statistics.median, singles)), RESTORED_MS_MAX),
        Figure("outcome to restored, p99", "ms", tuple(map(max, singles)), note=f"the most of {ONE_BY_ONE}"),
        Figure(
            f"{PENDING} pending rollbacks drained", "s", tuple(drained), DRAIN_SECONDS_MAX, "memory store"
        ),
    ]


def _one_by_one(options: Options) -> list[list[float]]:
    with (
        Shop(options.store) as shop,
        closing(
            pymysql.connect(
                host=HOST,
                port=shop.database.port,
                user="dksl",
                password="123456",  # noqa: S106  the demo's
                autocommit=True,
            )
        ) as connection,
        connection.cursor() as cursor,
    ):
        return [[_one(shop, cursor) for _ in range(ONE_BY_ONE)] for _ in range(min(options.rounds, 3))]


def _one(shop: Shop, cursor: pymysql.cursors.Cursor) -> float:
    send(shop.orders(hinted=True, path="create2", count=1))
    answered = time.perf_counter()

    def restored() -> bool:
        cursor.execute(shop.LEFT)
        row = cursor.fetchone()
        return row is not None and row[0] == 0

    wait_for("the order to be undone", restored, every=0.001)
    return (time.perf_counter() - answered) * 1000


def _drained(rounds: int) -> list[float]:
    found = []
    with database("bench-settle", SQL) as (place, server):
        for _ in range(rounds):
            server.execute("TRUNCATE globaltx_undo;", schema=place.schema)
            found.append(uvloop.run(_drain(place)))
    return found


async def _drain(place: Place) -> float:
    with tempfile.TemporaryDirectory() as folder:
        source = Datasource(name="bench", host=HOST, schema=place.schema, secret="", port=place.port)
        credentials = Path(folder) / source.name
        credentials.mkdir()
        (credentials / "username").write_text(place.user)
        (credentials / "password").write_text(place.password)
        own = Database(source, folder)
        schemas, store, metrics = CachedSchemas(own), MemoryStore(Memory()), Metrics()
        async with asyncio.TaskGroup() as tasks:
            registrar = Registrar(store, "bench", tasks, metrics)
            server = await serve(
                DatasourceSettings(source, HOST, 0), registrar, schemas, credentials=Path(folder)
            )
            port = server.address[1]
            await _change(store, place.dsn(port))
            desk = DatabaseDesk(
                "bench", PhaseTwo(own, schemas), store, Health(metrics), metrics, asyncio.Event()
            )
            seconds = await _carried_out(store, desk, tasks)
            await server.stop(timedelta(seconds=1))
        own.close()
    return seconds


async def _change(store: MemoryStore, dsn: str) -> None:
    """One statement in autocommit for each of the transactions, each on a row of its own."""
    for _ in range(PENDING // _CLIENTS):
        xids = [
            new_xid("bench", int(time.time() * 1000), secrets.randbits(RANDOM_BITS)) for _ in range(_CLIENTS)
        ]
        for xid in xids:
            await store.begin(GlobalTransaction(xid, "bench", timedelta(hours=1)))
        work = Work("insert", _CLIENTS, count=1, dsn=dsn, xids=tuple(map(str, xids)))
        await asyncio.to_thread(send, work)
        for xid in xids:
            await decide(store, xid, Outcome.ROLLBACK)


async def _carried_out(store: MemoryStore, desk: DatabaseDesk, tasks: asyncio.TaskGroup) -> float:
    seen = 0
    async for branch in store.watch("bench"):
        desk.take(branch)
        seen += 1
        if seen == PENDING:
            break
    began = time.perf_counter()
    running = tasks.create_task(desk.run())
    while desk.waiting:  # noqa: ASYNC110  the desk tells nobody that it is empty
        await asyncio.sleep(0.002)
    seconds = time.perf_counter() - began
    running.cancel()
    return seconds
