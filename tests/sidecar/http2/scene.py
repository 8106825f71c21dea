"""A real server of gRPC behind the proxy, and a real client in front of it; messages are bare bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from globaltx.coordinator.policy import Propagation, Route
from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.xid import Xid
from globaltx_sidecar.http.filter import Filter
from tests.sidecar.http.scene import FaultyStore, Scene, in_front_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from globaltx.transaction.model import Branch
    from globaltx_sidecar.traces import Traces

    Unary = Callable[[bytes, Any], Awaitable[bytes]]

SECONDS = 10.0
LARGEST = 32 * 1024 * 1024
BEGINS = Route("begins", path="/bank/Begins")
NEW = Route("new", path="/bank/New", propagation=Propagation.REQUIRES_NEW)
STRICT = Route("strict", path="/bank/Strict", propagation=Propagation.MANDATORY)
NEVER = Route("never", path="/bank/Never", propagation=Propagation.NEVER)
ALONE = Route("alone", path="/bank/Alone", propagation=Propagation.NOT_SUPPORTED)
NAMED = Route("named", path="/bank/Named", request_id_header="idempotency-key")
XID = Xid("shop", "t1")
"""A transaction that others have begun."""
CARRIED = ("xid", str(XID))
TIMEOUT = timedelta(seconds=10)
ROUTES = (BEGINS, NEW, STRICT, NEVER, ALONE, NAMED)
OPTIONS = (
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.so_reuseport", 0),
)


@dataclass
class Bank:
    """The application; ``does`` is what it does when it is called, ``seen`` the metadata that it got."""

    does: Unary
    seen: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    sent: int = 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Answer every method, by what its name says."""
        name = str(details.method).rpartition("/")[2]
        self.seen.append(dict(details.invocation_metadata))
        self.methods.append(str(details.method))
        if name == "Echo":
            return grpc.stream_stream_rpc_method_handler(_echo)
        if name == "Many":
            return grpc.unary_stream_rpc_method_handler(self._many)
        return grpc.unary_unary_rpc_method_handler(self._call)

    async def _many(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        for _number in range(int(request)):
            self.sent += 1
            yield b"x" * 65536

    async def _call(self, request: bytes, context: Any) -> bytes:
        return await self.does(request, context)


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library is not typed
    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._bank.service(handler_call_details)


async def _echo(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for each in requests:
        yield each


async def fine(request: bytes, context: Any) -> bytes:
    """Answer what was asked, with status 0."""
    context.set_trailing_metadata((("x-trailer", "1"),))
    return request


async def fails(request: bytes, context: Any) -> bytes:
    """Answer with another status."""
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"no {request.decode()}")
    raise AssertionError


@asynccontextmanager
async def silence() -> AsyncIterator[str]:
    """An application that takes connections and says nothing; give its address.

    A server of gRPC that hangs may itself say, just before, that the time of a call is over.
    """

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(listens, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Hangs:
    """Does not answer a call until that is cancelled."""

    def __init__(self) -> None:
        self.arrived, self.cancelled = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: bytes, __: Any) -> bytes:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.arrived.set()
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@dataclass
class Called:
    """What became of a call."""

    code: grpc.StatusCode
    details: str
    answer: bytes | None
    initial: dict[str, str]
    trailing: dict[str, str]


@dataclass
class GrpcScene:
    """A bank behind a proxy, and a channel to it."""

    http: Scene
    bank: Bank
    server: grpc.aio.Server
    channel: grpc.aio.Channel

    @property
    def store(self) -> FaultyStore:
        return self.http.store

    async def call(
        self, method: str, message: bytes = b"ten", *metadata: tuple[str, str], within: float = SECONDS
    ) -> Called:
        """Call a unary method."""
        call = self.channel.unary_unary(f"/bank/{method}")(message, metadata=metadata, timeout=within)
        try:
            answer = await call
        except grpc.aio.AioRpcError:
            answer = None
        return Called(
            await call.code(),
            await call.details() or "",
            answer,
            _plain(await call.initial_metadata()),
            _plain(await call.trailing_metadata()),
        )

    def outcomes(self) -> list[str]:
        """The outcomes that were taken, with their reasons."""
        return [f"{each.outcome} {each.reason}" for each in self.store.decided.values()]

    def begun(self) -> list[Xid]:
        """The transactions that were begun."""
        return [each.xid for each in self.store.begun]


def _plain(metadata: Any) -> dict[str, str]:
    return dict(metadata or ())


@asynccontextmanager
async def bank(
    does: Unary = fine,
    routes: Filter | None = None,
    *,
    store: FaultyStore | None = None,
    traces: Traces | None = None,
) -> AsyncIterator[GrpcScene]:
    """Run the bank behind a proxy."""
    application = Bank(does)
    server = grpc.aio.server(options=OPTIONS)
    async with (
        serving(application, server) as port,
        in_front_of(port, store, Filter(ROUTES) if routes is None else routes, traces=traces) as scene,
    ):
        address = f"127.0.0.1:{scene.port}"
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            yield GrpcScene(scene, application, server, channel)


@asynccontextmanager
async def serving(application: Bank, server: grpc.aio.Server | None = None) -> AsyncIterator[int]:
    """Run the bank alone; give its port."""
    server = server or grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((_Handlers(application),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def known(store: FaultyStore | None = None) -> FaultyStore:
    """A store that knows `XID`."""
    store = store or FaultyStore()
    await store.begin(GlobalTransaction(XID, "web", TIMEOUT))
    return store


async def branch_of(scene: GrpcScene) -> Branch:
    """The one branch of `XID`."""
    (branch,) = (await scene.store.read(XID)).branches
    return branch


async def order_of_events(scene: GrpcScene, store: FaultyStore) -> list[str]:
    """Make a call that begins a transaction; tell whether it was decided or answered first."""
    order: list[str] = []

    async def until_decided() -> None:
        await store.until(lambda: bool(store.decided))
        order.append("decided")

    async def until_answered() -> None:
        await scene.call("Begins")
        order.append("answered")

    await asyncio.gather(until_decided(), until_answered())
    return order


async def give_up(scene: GrpcScene, hangs: Hangs) -> None:
    """Make such a call, and cancel it when the application has it; return when it is over for all."""
    call = scene.channel.unary_unary("/bank/Begins")(b"")
    await hangs.arrived.wait()
    call.cancel()
    await scene.store.until(lambda: bool(scene.store.decided))
    await asyncio.wait_for(hangs.cancelled.wait(), 10)
