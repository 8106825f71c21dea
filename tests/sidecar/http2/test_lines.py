"""The connections that our own calls of gRPC go over: how many, and what becomes of calls if one is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded
from multidict import CIMultiDict

from globaltx.modes import tcc
from globaltx.modes.tcc import Call
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.upstream import Upstream, UpstreamError
from globaltx_sidecar.http2 import line
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import pump
from tests.sidecar.http2.scene import (
    CARRIED,
    OPTIONS,
    SECONDS,
    Bank,
    Hangs,
    bank,
    branch_of,
    fine,
    known,
    serving,
)
from tests.sidecar.http2.test_trying import DEBIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Relay:
    """Stands before an application, and counts the connections that are made to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.made = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def open(self) -> int:
        return len(self._writers)

    def cut(self) -> None:
        """Close all connections, as an application does that dies."""
        for each in self._writers:
            each.transport.abort()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self._writers.add(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        finally:
            self._writers.discard(writer)
            for each in (writer, up_writer):
                each.transport.abort()


@asynccontextmanager
async def before(port: int) -> AsyncIterator[tuple[Relay, Upstream]]:
    """A relay in front of an application, and what calls it."""
    relay = Relay(port)
    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server, Upstream(server.sockets[0].getsockname()[1]) as upstream:
        yield relay, upstream
        await upstream.__aexit__()
        await eventually(lambda: relay.open == 0)


async def call(upstream: Upstream, message: bytes = b"") -> int:
    headers = CIMultiDict({"content-type": "application/grpc"})
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    return (await upstream.call_grpc("/bank/Confirm", headers, framed, SECONDS)).status


@pytest.mark.parametrize("together", [True, False])
async def test_many_confirms_go_over_one_connection(*, together: bool) -> None:
    async with bank(fine, Filter([DEBIT]), store=await known()) as scene:
        upstream = scene.http.proxy.upstream
        relay = Relay(int(upstream.address.rpartition(":")[2]))
        async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
            await scene.call("Debit", b"ten", CARRIED)
            upstream.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            branch = await branch_of(scene)
            branch.outcome = Outcome.COMMIT  # type: ignore[misc]  # frozen for the type checker alone
            duty = tcc.duty(branch)
            assert isinstance(duty, Call)
            confirms = (scene.http.caller.call(branch.id, duty, each) for each in range(1, 51))
            if together:
                assert await asyncio.gather(*confirms) == [0] * 50
            else:
                assert [await each for each in confirms] == [0] * 50
            assert (relay.made, scene.bank.methods.count("/bank/ConfirmDebit")) == (1, 50)
            await upstream.__aexit__()
            await eventually(lambda: relay.open == 0)


async def test_a_connection_that_the_application_has_closed_is_replaced_at_once() -> None:
    async with serving(Bank(fine)) as port, before(port) as (relay, upstream):
        for made in range(1, 4):
            assert await call(upstream) == 0
            assert relay.made == made
            relay.cut()


async def test_calls_are_made_elsewhere_when_the_application_goes_away_and_those_under_way_end() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(request: bytes, _: Any) -> bytes:
        arrived.set()
        await go.wait()
        return request

    old, new = Bank(waits), Bank(fine)
    leaving = grpc.aio.server(options=OPTIONS)
    async with serving(old, leaving) as old_port, serving(new) as port, before(old_port) as (relay, upstream):
        under_way = asyncio.create_task(call(upstream))
        await arrived.wait()
        relay.port = port
        stopping = asyncio.create_task(leaving.stop(10))
        lines = upstream._lines
        assert lines is not None
        await eventually(lambda: not lines._open[0].has_room)  # it has been told
        assert [await call(upstream) for _ in range(3)] == [0] * 3
        assert not under_way.done()
        go.set()
        assert await under_way == 0
        await stopping
        assert (len(old.seen), len(new.seen), relay.made) == (1, 3, 2)


async def test_a_call_that_is_given_up_is_told_of_and_holds_up_no_other() -> None:
    hangs, slow = Hangs(), asyncio.Event()

    async def does(request: bytes, context: Any) -> bytes:
        if request == b"hang":
            return await hangs(request, context)
        if request == b"slow":
            await slow.wait()
        return request

    async with serving(Bank(does)) as port, before(port) as (relay, upstream):
        beside = asyncio.create_task(call(upstream, b"slow"))
        hanging = asyncio.create_task(call(upstream, b"hang"))
        await hangs.arrived.wait()
        hanging.cancel()
        await asyncio.wait_for(hangs.cancelled.wait(), 10)
        assert (await call(upstream), relay.made) == (0, 2)
        slow.set()
        assert await beside == 0
        await eventually(lambda: relay.open == 1)


async def test_more_calls_than_the_application_takes_on_a_connection_do_not_wait() -> None:
    arrived, go = 0, asyncio.Event()

    async def waits(request: bytes, _: Any) -> bytes:
        nonlocal arrived
        arrived += 1
        await go.wait()
        return request

    narrow = grpc.aio.server(options=(*OPTIONS, ("grpc.max_concurrent_streams", 2)))
    async with serving(Bank(waits), narrow) as port, before(port) as (relay, upstream):
        calling = [asyncio.create_task(call(upstream)) for _ in range(7)]
        await eventually(lambda: arrived == len(calling))
        assert relay.made == 4
        go.set()
        assert await asyncio.gather(*calling) == [0] * 7


async def test_answers_that_are_larger_than_what_may_be_on_its_way_are_read() -> None:
    async def tells(_: bytes, __: Any) -> bytes:
        return bytes(200_000)

    async with serving(Bank(tells)) as port, before(port) as (relay, upstream):
        assert [await call(upstream) for _ in range(10)] == [0] * 10
        assert relay.made == 1


async def test_a_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CALLS_MAX", 3)
    async with serving(Bank(fine)) as port, before(port) as (relay, upstream):
        assert [await call(upstream) for _ in range(7)] == [0] * 7
        assert relay.made == 3
        monkeypatch.setattr(line, "IDLE_SECONDS", 0.01)
        assert await call(upstream) == 0
        await eventually(lambda: relay.open == 2)


class Peer:
    """A server of HTTP/2 that does to each request what it was told to, and answers all others."""

    def __init__(self, *does: str) -> None:
        self._does = list(does)
        self.made = self.asked = 0
        self.open: dict[asyncio.StreamWriter, H2Connection] = {}

    def leave(self) -> None:
        """Ask for no more requests, and wait for the other side to close."""
        for writer, server in self.open.items():
            server.close_connection()
            writer.write(server.data_to_send())

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self.open[writer] = server = H2Connection(H2Configuration(client_side=False))
        server.initiate_connection()
        writer.write(server.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in server.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self.asked += 1
                    if isinstance(event, StreamEnded):
                        self._do(server, event.stream_id)
                writer.write(server.data_to_send())
        except ConnectionError:
            pass
        finally:
            del self.open[writer]
            writer.transport.abort()

    def _do(self, server: H2Connection, stream: int) -> None:
        match self._does.pop(0) if self._does else "":
            case "refuses":
                server.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            case "breaks off":
                server.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
            case "goes away":
                server.close_connection(last_stream_id=stream - 2 if stream > 1 else 0)
            case _:
                server.send_headers(stream, [(":status", "200"), ("grpc-status", "0")], end_stream=True)


@asynccontextmanager
async def talking(peer: Peer) -> AsyncIterator[Upstream]:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    async with server, Upstream(server.sockets[0].getsockname()[1]) as upstream:
        yield upstream


@pytest.mark.parametrize(
    ("does", "made"),
    [(["refuses"], 1), (["", "refuses", "refuses"], 1), (["goes away"], 2), (["", "goes away"], 2)],
)
async def test_what_the_application_has_not_seen_is_sent_again(does: list[str], made: int) -> None:
    peer = Peer(*does)
    async with talking(peer) as upstream:
        for _ in range(3):
            assert await call(upstream) == 0
    assert (peer.made, peer.asked) == (made, 3 + len([each for each in does if each]))


async def test_who_goes_away_when_nothing_is_under_way_is_left_in_peace() -> None:
    peer = Peer()
    async with talking(peer) as upstream:
        assert await call(upstream) == 0
        peer.leave()
        await eventually(lambda: not peer.open)
        assert await call(upstream) == 0
    assert peer.made == 2


@pytest.mark.parametrize("does", ["refuses", "goes away"])
async def test_but_not_for_ever(does: str) -> None:
    peer = Peer(*[does] * 10)
    async with talking(peer) as upstream:
        with pytest.raises(UpstreamError, match="gave no answer"):
            await call(upstream)
    assert peer.asked == 3


async def test_what_the_application_has_seen_is_not() -> None:
    peer = Peer("", "breaks off")
    async with talking(peer) as upstream:
        assert await call(upstream) == 0
        with pytest.raises(UpstreamError, match=r"reset the call \(error 2\)"):
            await call(upstream)
        assert await call(upstream) == 0
    assert (peer.made, peer.asked) == (1, 3)


async def test_calls_that_came_before_there_was_a_connection_are_told_that_there_is_none() -> None:
    async with Upstream(1) as upstream:
        told = await asyncio.gather(*(call(upstream) for _ in range(5)), return_exceptions=True)
    assert ["gave no answer" in str(each) for each in told] == [True] * 5
