"""A real application behind a real proxy, on sockets of loopback, over a store that can fail."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.coordinator.policy import Propagation, Route, Saga, Tcc, Tcd
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.memory import MemoryStore
from globaltx.transaction.calls import Order, Reservation
from globaltx_sidecar.guards import Guards
from globaltx_sidecar.http import server
from globaltx_sidecar.http.caller import HttpCaller
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.initiator import Initiator, Origin
from globaltx_sidecar.http.proxy import Proxy
from globaltx_sidecar.http.requests import Requests
from globaltx_sidecar.http.tries import Tries
from globaltx_sidecar.http.upstream import Upstream
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from globaltx.transaction.calls import Calls
    from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.tries import Rows
    from globaltx_sidecar.traces import Traces

    Application = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

DEADLINE_SECONDS = 10.0
CREATE = Route("create", path="/create", timeout=timedelta(seconds=5))
HASTY = Route("hasty", path="/hasty", timeout=timedelta(milliseconds=200))
DEBIT = Route(
    "debit",
    path_template="/accounts/{id}/debit",
    timeout=timedelta(seconds=5),
    tcc=Tcc("/accounts/{id}/confirm", "/accounts/{id}/cancel"),
)
RESERVE = Route(
    "reserve",
    path_template="/accounts/{id}/reserve",
    timeout=timedelta(seconds=5),
    tcd=Tcd("/accounts/{id}/confirm", Reservation(timedelta(seconds=60), "/accounts/{id}/state")),
)
BOOK = Route(
    "book",
    path_template="/rooms/{id}/book",
    timeout=timedelta(seconds=5),
    saga=Saga("/rooms/{id}/release"),
)
LOOSE = Route("loose", path="/loose", saga=Saga("/back", Order.TOGETHER))
ONCE = Route("once", path="/once", timeout=timedelta(seconds=5), request_id_header="idempotency-key")
STRICT = Route("strict", path="/strict", propagation=Propagation.MANDATORY)
NEVER = Route("never", path="/never", propagation=Propagation.NEVER)
ALONE = Route("alone", path="/alone", propagation=Propagation.NOT_SUPPORTED)
NEW = Route("new", path="/new", propagation=Propagation.REQUIRES_NEW)
SUPPORTS = Route("supports", path="/supports", propagation=Propagation.SUPPORTS)
PREFIX = Route("prefix", method="PUT", path_prefix="/many", commit_statuses=frozenset({200, 201}))

ROUTES = (CREATE, HASTY, PREFIX, ONCE, DEBIT, RESERVE, BOOK, LOOSE, STRICT, NEVER, ALONE, NEW, SUPPORTS)


class FaultyStore(MemoryStore):
    """The memory store, some of whose calls get lost as a network loses them."""

    def __init__(self) -> None:
        super().__init__(begin_wait=0.05)
        self.begun: list[GlobalTransaction] = []
        self.decided: dict[Xid, Decision] = {}
        self.lost_calls: set[str] = set()
        self.lost_answers: set[str] = set()
        self.changed = asyncio.Condition()

    async def begin(self, transaction: GlobalTransaction) -> None:
        self._lose("begin", self.lost_calls)
        await super().begin(transaction)
        self.begun.append(transaction)
        await self._tell()

    async def decide(self, xid: Xid, decision: Decision) -> Decision:
        self._lose("decide", self.lost_calls)
        standing = await super().decide(xid, decision)
        self.decided[xid] = standing
        await self._tell()
        self._lose("decide", self.lost_answers)
        return standing

    async def join(
        self, branch: BranchId, mode: Mode, calls: Calls | None = None, *, started: bool = False
    ) -> Branch:
        self._lose("join", self.lost_calls)
        return await super().join(branch, mode, calls, started=started)

    async def start(self, branch: BranchId) -> None:
        self._lose("start", self.lost_calls)
        await super().start(branch)

    async def complete(self, branch: BranchId) -> None:
        self._lose("complete", self.lost_calls)
        await super().complete(branch)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is true of the calls that came in."""
        async with asyncio.timeout(DEADLINE_SECONDS), self.changed:
            await self.changed.wait_for(holds)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    def _lose(self, name: str, lost: set[str]) -> None:
        if name in lost:
            message = "lost on the way"
            raise StoreUnavailableError(message)


@dataclass
class Seen:
    """A request as it reached the application."""

    head: str
    body: bytes = b""

    def header(self, name: str) -> list[str]:
        pairs = (line.partition(": ") for line in self.head.split("\r\n")[1:])
        return [value for key, _, value in pairs if key.lower() == name.lower()]


@dataclass
class Scene:
    """The proxy, the store behind it, and what reached the application."""

    store: FaultyStore
    proxy: Proxy
    server: server.HttpServer
    port: int
    caller: HttpCaller
    guards: Guards
    seen: list[Seen] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes, *, piece: int = 0) -> bytes:
        """Send bytes (in pieces), then read until the proxy closes the connection."""
        reader, writer = await self.connect()
        async with asyncio.timeout(DEADLINE_SECONDS):
            for at in range(0, len(request), piece or len(request)):
                writer.write(request[at : at + (piece or len(request))])
                await writer.drain()
            answer = await reader.read()
        writer.close()
        return answer


async def read_request(reader: asyncio.StreamReader) -> Seen:
    """Read one request, its body decoded if it is chunked."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n")
    seen = Seen(head)
    if seen.header("content-length"):
        seen.body = await reader.readexactly(int(seen.header("content-length")[0]))
    elif seen.header("transfer-encoding"):
        while size := int((await reader.readline()).strip(), 16):
            seen.body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return seen


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def staged(
    application: Application,
    store: FaultyStore | None = None,
    *,
    edge: bool = False,
    traces: Traces | None = None,
    rows: Rows | None = None,
) -> AsyncIterator[Scene]:
    """Run an application behind a proxy."""
    behind = await asyncio.start_server(application, "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]
    try:
        async with in_front_of(port, store, Filter(ROUTES, edge=edge), traces=traces, rows=rows) as scene:
            yield scene
    finally:
        behind.close()


@asynccontextmanager
async def in_front_of(
    port: int,
    store: FaultyStore | None = None,
    routes: Filter | None = None,
    *,
    traces: Traces | None = None,
    rows: Rows | None = None,
) -> AsyncIterator[Scene]:
    """Run a proxy in front of an application that is there."""
    store = store or FaultyStore()
    metrics = Metrics()
    origin = Origin("shop", "order", "order-1", "orders", timedelta(hours=1))
    async with asyncio.TaskGroup() as tasks, Upstream(port) as upstream:
        initiator = Initiator(store, origin, tasks, wait_seconds=0.3)
        guards = Guards("shop", "order")
        traced = traces is not None and traces.of_calls
        own = (store, "order", "order-1", metrics)
        tries = Tries(*own, wait_seconds=0.3, guards=guards, rows=rows, traced=traced)
        requests = Requests(store, origin, wait_seconds=0.3)
        filtering = Filter(ROUTES) if routes is None else routes
        proxy = Proxy(upstream, initiator, tries, requests, tasks, metrics, filtering, traces=traces)
        front = await server.serve(proxy, "127.0.0.1", 0)
        try:
            caller = HttpCaller(upstream, tries, guards, traces)
            yield Scene(store, proxy, front, front.address[1], caller, guards)
        finally:
            await front.stop(timedelta(seconds=5))


def answering(scene_seen: list[Seen], answer: bytes) -> Application:
    """An application that notes each request and gives one answer to all, keeping the connection."""

    async def application(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not reader.at_eof():
                scene_seen.append(await read_request(reader))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return application
