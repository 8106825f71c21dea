"""A real MySQL side of a sidecar in a thread of its own, so that blocking clients can be let at it."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pymysql
import uvloop
from pymysql.constants import SERVER_STATUS

from globaltx.coordinator.policy import Datasource, Tls
from globaltx.manifest.settings import DatasourceSettings
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.model import Decision, GlobalTransaction, Snapshot
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import RANDOM_BITS, Xid, new_xid
from globaltx.undo.table import create_undo_table
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.mysql.server import Limits, MysqlServer, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from pathlib import Path

    from dev.databases import Server
    from globaltx_sidecar.ports import Guards, Meter, Traces

Answer = TypeVar("Answer")

APP = "order-svc"
RESOURCE = "order-db"
ACCOUNT = "app"
PASSWORD = "let me in"
LOCK_WAIT = timedelta(seconds=0.5)
WAIT_SECONDS = 30


def write_credentials(folder: Path) -> Path:
    """Lay the account of phase two down as a mounted Secret would; return the folder of all of them."""
    own = folder / RESOURCE
    own.mkdir()
    (own / "username").write_text(ACCOUNT)
    (own / "password").write_text(PASSWORD)
    return folder


@dataclass(frozen=True)
class Place:
    """A schema of one's own in a real server."""

    host: str
    port: int
    schema: str

    @classmethod
    def made(cls, server: Server, schema: str, tables: str) -> Place:
        """Give a schema its account, its tables and an undo table."""
        server.execute(
            f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{PASSWORD}';"
            f"GRANT ALL ON {schema}.* TO '{ACCOUNT}'@'%';"
        )
        server.execute(tables, schema=schema)
        server.execute(create_undo_table(schema))
        return cls("127.0.0.1", server.port, schema)

    def connect(self, **options: Any) -> Any:
        """Connect past the sidecar; untyped, because tests look at what the stubs hide."""
        given: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": ACCOUNT,
            "password": PASSWORD,
            "database": self.schema,
            "autocommit": True,
        }
        return pymysql.connect(**(given | options))

    def datasource(self, tls: Tls) -> Datasource:
        """The schema as a policy names it."""
        return Datasource(
            name=RESOURCE, host=self.host, schema=self.schema, secret="-", port=self.port, tls=tls
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives, asked past the sidecar."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def run(self, *statements: str) -> None:
        """Run statements past the sidecar."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


class Proxy:
    """A listening side in front of a `Place`, over the memory store; ``more`` is set in the datasource."""

    def __init__(  # noqa: PLR0913  most have a default
        self,
        place: Place,
        credentials: Path,
        *,
        meter: Meter | None = None,
        limits: Limits | None = None,
        tls: Tls | None = None,
        lock_wait: timedelta = LOCK_WAIT,
        traces: Traces | None = None,
        guards: Guards | None = None,
        **more: Any,
    ) -> None:
        self.place = place
        self._lock_wait = lock_wait
        self._credentials = credentials
        self._meter = meter
        self._traces = traces
        self._guards = guards
        self._limits = limits
        self._datasource = replace(place.datasource(tls or Tls()), **more)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready: Future[None] = Future()
        self._done: asyncio.Event
        self.store: MemoryStore
        self.server: MysqlServer
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(WAIT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "the sidecar did not stop"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._done = asyncio.Event()
        self.store = MemoryStore(Memory(), begin_wait=0.2)
        settings = DatasourceSettings(self._datasource, listen_host="127.0.0.1", listen_port=0)
        database = Database(self._datasource, str(self._credentials))
        schemas = CachedSchemas(database)
        self._phase_two = PhaseTwo(database, schemas)
        async with asyncio.TaskGroup() as tasks:
            registrar = Registrar(self.store, APP, tasks, Metrics(), wait_seconds=2)
            self.server = await serve(
                settings,
                registrar,
                schemas,
                lock_wait=self._lock_wait,
                meter=self._meter,
                limits=self._limits,
                traces=self._traces,
                guards=self._guards,
                credentials=self._credentials,
            )
            self.port = self.server.address[1]
            self._ready.set_result(None)
            await self._done.wait()
            await self.server.stop(timedelta(seconds=1))
            database.close()

    def call(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        """Run something in the sidecar's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(WAIT_SECONDS)

    def begin(self) -> Xid:
        """Begin a global transaction."""
        xid = new_xid("shop", 1_700_000_000_000, secrets.randbits(RANDOM_BITS))
        self.call(_awaited(self.store.begin(GlobalTransaction(xid, APP, timedelta(seconds=60)))))
        return xid

    def decide(self, xid: Xid, outcome: Outcome) -> None:
        """Take a transaction's outcome."""
        self.call(_awaited(self.store.decide(xid, Decision(outcome, "DecidedByPerson"))))

    def carry_out(self, xid: Xid, outcome: Outcome) -> None:
        """Let phase two do its work."""
        if outcome is Outcome.COMMIT:
            self.call(self._phase_two.commit([xid]))
        else:
            self.call(self._phase_two.rollback(xid))

    def read(self, xid: Xid) -> Snapshot:
        """Read a transaction and its branches."""
        return self.call(_awaited(self.store.read(xid)))

    def connect(self, **options: Any) -> Any:
        """Connect through the sidecar."""
        return self.place.connect(host="127.0.0.1", port=self.port, **options)


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll for what no event tells of, with a deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


async def _awaited(awaitable: Awaitable[Answer]) -> Answer:
    return await awaitable


def numbers(count: int) -> str:
    """SQL of a table with the numbers from 1 to a power of ten in the column ``n``, on any server."""
    digits = "SELECT 0 AS d" + "".join(f" UNION ALL SELECT {digit}" for digit in range(1, 10))
    places = range(len(str(count)) - 1)
    assert count == 10 ** len(places)
    terms = " + ".join(f"t{place}.d * {10**place}" for place in places)
    tables = " CROSS JOIN ".join(f"({digits}) AS t{place}" for place in places)
    return f"(SELECT 1 + {terms} AS n FROM {tables}) AS numbers"


def in_transaction(connection: Any) -> bool:
    """Whether the server says that a local transaction is open."""
    connection.ping(reconnect=False)
    return bool(connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)


def hint(xid: object) -> str:
    """The hint that carries an xid."""
    return f"/*+ XID('{xid}') */"
