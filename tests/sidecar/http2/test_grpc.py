"""gRPC through the proxy, by a real client and a real server of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.settings import SettingCodes, Settings

from globaltx.coordinator.policy import Route
from globaltx.http2_frames import HEADERS, PREFACE, FrameReader
from globaltx.transaction.model import Decision, GlobalTransaction
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.traces import Traces
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import FaultyStore
from tests.sidecar.http2.scene import BEGINS, ROUTES, Hangs, bank, fails, give_up, order_of_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sidecar.http.scene import Application

XID = Xid("shop", "t1")
BINARY: Any = b"\x00\xff"
NO_ROUTES = Filter()
SETTINGS = bytes.fromhex("000000040000000000")
ANSWER = [(":status", "200"), ("content-type", "application/grpc")]
BOTH = pytest.mark.parametrize("routes", [Filter(ROUTES), NO_ROUTES], ids=["read", "unread"])


@asynccontextmanager
async def listening(application: Application) -> AsyncIterator[str]:
    """Run another application, and tell its address; whoever is connected to it must leave first."""
    server = await asyncio.start_server(application, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@BOTH
async def test_a_unary_call_is_passed_on_with_its_metadata(routes: Filter) -> None:
    async with bank(routes=routes) as scene:
        called = await scene.call("Plain", b"ten", ("x-mine", "1"), ("blob-bin", BINARY))
    assert (called.code, called.answer) == (grpc.StatusCode.OK, b"ten")
    assert called.trailing["x-trailer"] == "1"
    assert scene.bank.seen[0]["x-mine"] == "1"
    assert scene.bank.seen[0]["blob-bin"] == BINARY
    assert scene.begun() == []


@BOTH
async def test_an_error_is_passed_on(routes: Filter) -> None:
    async with bank(fails, routes) as scene:
        called = await scene.call("Plain", b"money")
    assert (called.code, called.details) == (grpc.StatusCode.FAILED_PRECONDITION, "no money")


@BOTH
async def test_large_messages_go_both_ways(routes: Filter) -> None:
    message = b"0123456789abcdef" * (512 * 1024)  # eight times a window
    async with bank(routes=routes) as scene:
        called = await scene.call("Plain", message, within=60)
    assert called.answer == message


@BOTH
async def test_streams_go_both_ways_message_by_message(routes: Filter) -> None:
    async with bank(routes=routes) as scene, asyncio.timeout(30):
        call = scene.channel.stream_stream("/bank/Echo")()
        for word in (b"one", b"two" * 50_000, b"three"):
            await call.write(word)
            assert await call.read() == word  # before the next one is sent
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
        del call  # or else its connection stays


@BOTH
async def test_many_calls_at_a_time_share_a_connection(routes: Filter) -> None:
    async with bank(routes=routes) as scene:
        called = await asyncio.gather(*(scene.call("Plain", str(n).encode(), within=60) for n in range(300)))
    assert [each.answer for each in called] == [str(n).encode() for n in range(300)]


async def test_a_call_on_a_route_commits_with_status_0() -> None:
    async with bank() as scene:
        called = await scene.call("Begins")
    (xid,) = scene.begun()
    assert (called.code, called.answer) == (grpc.StatusCode.OK, b"ten")
    assert called.initial["globaltx-xid"] == str(xid)
    seen = scene.bank.seen[0]
    assert seen["globaltx-xid"] == seen["x-dbpack-xid"] == str(xid)
    assert f"globaltx-xid={xid}" in seen["baggage"]
    assert scene.outcomes() == ["Commit RequestSucceeded"]
    assert scene.store.decided[xid].message == "POST /bank/Begins was answered with grpc-status 0 by order-1"


async def test_any_other_status_rolls_back_and_is_given_to_the_client() -> None:
    async with bank(fails) as scene:
        called = await scene.call("Begins", b"money")
    assert (called.code, called.details) == (grpc.StatusCode.FAILED_PRECONDITION, "no money")
    assert (called.initial | called.trailing)["globaltx-xid"] == str(scene.begun()[0])
    assert scene.outcomes() == ["Rollback RequestFailed"]


async def test_the_answer_comes_after_the_outcome() -> None:
    store = FaultyStore()
    async with bank(store=store) as scene:
        order = await order_of_events(scene, store)
    assert order == ["decided", "answered"]


async def test_a_client_that_gives_up_rolls_back() -> None:
    hangs = Hangs()
    async with bank(hangs) as scene:
        await give_up(scene, hangs)
    assert scene.outcomes() == ["Rollback RequestAborted"]


async def test_an_application_that_dies_rolls_back() -> None:
    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        await reader.readexactly(len(PREFACE))
        read = FrameReader()
        while not any(each.kind == HEADERS for each in read.feed(await reader.read(4096))):
            pass
        writer.close()

    async with listening(dies) as address, bank() as scene:
        scene.http.proxy.upstream.address = address
        called = await scene.call("Begins")
    assert called.code is grpc.StatusCode.UNAVAILABLE
    assert called.trailing["globaltx-xid"] == str(scene.begun()[0])
    assert scene.outcomes() == ["Rollback RequestAborted"]


async def test_the_route_s_time_rolls_back() -> None:
    async def hangs(_: bytes, __: Any) -> bytes:
        await asyncio.sleep(60)
        raise AssertionError

    hasty = Filter([Route("hasty", path="/bank/Begins", timeout=timedelta(milliseconds=200))])
    async with bank(hangs, hasty) as scene:
        called = await scene.call("Begins")
    assert called.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.2 s" in called.details
    assert called.trailing["globaltx-xid"] == str(scene.begun()[0])
    assert scene.outcomes() == ["Rollback RequestAborted"]


async def test_an_answer_that_cannot_be_held_back_rolls_back() -> None:
    async def large(_: bytes, __: Any) -> bytes:
        return bytes(2 * 1024 * 1024)

    async with bank(large) as scene:
        called = await scene.call("Begins")
        assert called.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "1048576" in called.details
        assert scene.outcomes() == ["Rollback RequestAborted"]
        await eventually(lambda: scene.http.proxy.under_way.count == 0)


async def test_an_answer_of_more_than_a_window_is_held_back() -> None:
    async def large(_: bytes, __: Any) -> bytes:
        return bytes(900_000)

    async with bank(large) as scene:
        called = await scene.call("Begins")
    assert called.answer == bytes(900_000)
    assert scene.outcomes() == ["Commit RequestSucceeded"]


async def test_who_was_decided_on_before_is_told_so() -> None:
    scenes: list[Any] = []

    async def overtaken(request: bytes, _: Any) -> bytes:
        store = scenes[0].store
        await store.until(lambda: bool(store.begun))
        await store.decide(
            store.begun[0].xid, Decision(Outcome.ROLLBACK, "DeadlineExceeded", "too late", by="operator")
        )
        return request

    async with bank(overtaken) as scene:
        scenes.append(scene)
        called = await scene.call("Begins")
    assert called.code is grpc.StatusCode.ABORTED
    assert "another outcome was taken before: Rollback" in called.details


@pytest.mark.parametrize("lost", ["begin", "decide"])
async def test_nobody_is_told_that_it_succeeded_while_that_is_not_known(lost: str) -> None:
    store = FaultyStore()
    store.lost_calls.add(lost)
    async with bank(store=store) as scene:
        called = await scene.call("Begins")
    assert called.code is grpc.StatusCode.UNKNOWN
    assert "StoreUnavailable" in called.details


async def known() -> FaultyStore:
    store = FaultyStore()
    await store.begin(GlobalTransaction(XID, "web", BEGINS.timeout))
    store.begun.clear()
    return store


@pytest.mark.parametrize("method", ["Begins", "Strict", "Plain"])
async def test_a_call_with_an_xid_takes_part(method: str) -> None:
    async with bank(store=await known()) as scene:
        called = await scene.call(method, b"ten", ("x-dbpack-xid", str(XID)))
    assert called.code is grpc.StatusCode.OK
    seen = scene.bank.seen[0]
    assert seen["globaltx-xid"] == seen["x-dbpack-xid"] == str(XID)
    assert (scene.begun(), scene.outcomes()) == ([], [])


async def test_propagation_is_as_over_http1() -> None:
    xid = ("xid", str(XID))
    async with bank(store=await known()) as scene:
        assert (await scene.call("New", b"", xid)).code is grpc.StatusCode.OK
        assert scene.bank.seen[-1]["globaltx-xid"] == str(scene.begun()[0])
        assert "xid" not in scene.bank.seen[-1]
        assert (await scene.call("Alone", b"", xid)).code is grpc.StatusCode.OK
        assert not {"xid", "globaltx-xid", "baggage"} & set(scene.bank.seen[-1])
        never = await scene.call("Never", b"", xid)
        assert (never.code, "XidNotAllowed" in never.details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        strict = await scene.call("Strict")
        assert (strict.code, "XidRequired" in strict.details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        unknown = await scene.call("Strict", b"", ("xid", "shop.nobody"))
        assert "UnknownTransaction" in unknown.details
    assert len(scene.bank.seen) == 2


async def test_at_an_edge_no_xid_is_believed() -> None:
    async with bank(routes=Filter(edge=True)) as scene:
        carried = [("globaltx-xid", str(XID)), ("globaltx_xid", str(XID)), ("my_own", "1")]
        guard = ("globaltx-guard", f"{XID}/debit-1/confirm")
        await scene.call("Plain", b"", *carried, guard, ("baggage", f"a=1,globaltx-xid={XID}"))
    assert not scene.bank.seen[0].keys() & {"globaltx-xid", "globaltx_xid", "globaltx-guard"}
    assert scene.bank.seen[0]["my_own"] == "1"
    assert scene.bank.seen[0]["baggage"] == "a=1"


async def test_the_trace_of_a_call_belongs_to_its_transaction() -> None:
    owners: list[Xid | None] = []
    traces = Traces(asyncio.get_running_loop().time)

    async def notes(request: bytes, context: Any) -> bytes:
        parent = dict(context.invocation_metadata())["traceparent"]
        owners.append(traces.xid_of(parent.split("-")[1]))
        return request

    async with bank(notes, traces=traces) as scene:
        await scene.call("Begins")
    assert owners == scene.begun()


async def test_what_is_for_http1_only_is_refused() -> None:
    async with bank() as scene:
        called = await scene.call("Named", b"", ("idempotency-key", "a"))
    assert called.code is grpc.StatusCode.UNIMPLEMENTED
    assert "HTTP/1.1" in called.details
    assert (scene.bank.seen, scene.begun()) == ([], [])


async def test_a_server_that_goes_away_lets_its_calls_end() -> None:
    """What it has begun it answers; what comes after is for another connection."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(request: bytes, _: Any) -> bytes:
        arrived.set()
        await go.wait()
        return request

    async with bank(waits) as scene:
        call = asyncio.create_task(scene.call("Begins"))
        await arrived.wait()
        stopping = asyncio.create_task(scene.server.stop(20))
        refused = await scene.call("Plain", within=5)
        go.set()
        called = await call
        await stopping
    assert (called.code, called.answer) == (grpc.StatusCode.OK, b"ten")
    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert scene.outcomes() == ["Commit RequestSucceeded"]


@BOTH
async def test_a_stop_lets_calls_end(routes: Filter) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(request: bytes, _: Any) -> bytes:
        arrived.set()
        await go.wait()
        return request

    async with bank(waits, routes) as scene:
        call = asyncio.create_task(scene.call("Begins"))
        await arrived.wait()
        stopping = asyncio.create_task(scene.http.server.stop(timedelta(seconds=20)))
        await asyncio.sleep(0)
        go.set()
        assert (await call).answer == b"ten"
        async with asyncio.timeout(10):
            await stopping


async def test_routes_that_come_later_hold_for_connections_that_were_passed_on_unread() -> None:
    async with bank(routes=NO_ROUTES) as scene:
        await scene.call("Begins")
        assert scene.begun() == []
        scene.http.proxy.use(Filter([BEGINS]))

        async def begins() -> bool:
            await scene.call("Begins")
            return bool(scene.begun())

        async with asyncio.timeout(10):
            while not await begins():
                pass


async def test_who_does_not_read_is_waited_for_and_not_buffered_for() -> None:
    async with bank() as scene:
        call = scene.channel.unary_stream("/bank/Many")(b"4096")
        assert await call.read()
        before = -1
        while before != scene.bank.sent:  # until it stands still, for a while
            before = scene.bank.sent
            await asyncio.sleep(0.5)
        assert before < 256
        call.cancel()
        await eventually(lambda: scene.http.proxy.under_way.count == 0)
        assert (await scene.call("Plain")).code is grpc.StatusCode.OK


async def test_an_application_of_http1_only_is_told() -> None:
    async def speaks_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with listening(speaks_http1) as address, bank() as scene:
        scene.http.proxy.upstream.address = address
        called = await scene.call("Begins")
        assert called.code is grpc.StatusCode.UNAVAILABLE
        assert "speaks no HTTP/2" in called.details
        scene.http.proxy.upstream.address = "127.0.0.1:1"
        called = await scene.call("Plain")
        assert called.code is grpc.StatusCode.UNAVAILABLE
        assert "takes no connection" in called.details
    assert all(each == "Rollback RequestAborted" for each in scene.outcomes())


async def test_what_begins_when_the_application_is_known_to_be_gone_is_rolled_back_at_once() -> None:
    gone = asyncio.Event()

    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        with suppress(ConnectionError):
            while await reader.read(100):
                pass
        gone.set()
        writer.close()

    async with listening(leaves) as address, bank() as scene:
        scene.http.proxy.upstream.address = address
        await scene.channel.channel_ready()
        await gone.wait()
        called = await scene.call("Begins")
        assert called.code is grpc.StatusCode.UNAVAILABLE
        assert "speaks no HTTP/2" in called.details
        assert scene.outcomes() == ["Rollback RequestAborted"]


async def test_no_more_calls_at_a_time_than_the_application_takes() -> None:
    async def takes_three(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = H2Connection(H2Configuration(client_side=False))
        most = {SettingCodes.MAX_CONCURRENT_STREAMS: 3}
        server.local_settings = Settings(client=False, initial_values=most)
        server.initiate_connection()
        writer.write(server.data_to_send())
        while data := await reader.read(65536):
            for each in server.receive_data(data):  # raises at a fourth
                if isinstance(each, StreamEnded):
                    await asyncio.sleep(0)
                    server.send_headers(each.stream_id, ANSWER)
                    server.send_data(each.stream_id, bytes(5))
                    server.send_headers(each.stream_id, [("grpc-status", "0")], end_stream=True)
            writer.write(server.data_to_send())
        writer.close()

    async with listening(takes_three) as address, bank() as scene:
        scene.http.proxy.upstream.address = address
        called = await asyncio.gather(*(scene.call("Plain", within=60) for _ in range(60)))
    assert [each.answer for each in called] == [b""] * 60
