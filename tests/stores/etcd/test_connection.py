from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop
from h2.events import PingAckReceived, SettingsAcknowledged

from globaltx.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, PeerError, frame
from globaltx.stores.etcd import headers
from globaltx.stores.etcd.calls import WINDOW
from globaltx.stores.etcd.connection import Connection, connect
from tests.stores.etcd.peer import Peer, enclosed
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

BLOCK = headers.call("KV/Txn", "etcd:2379", "", tls=False)
BYTES_MAX = 4 << 20
REST = b"".join(
    (
        frame(HEADERS, END_HEADERS, 1, b"\x88\x5f\x10application/grpc"),
        frame(DATA, 0, 1, enclosed(b"fine")),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x0bgrpc-status\x010"),
    )
)
"""An answer to the first call: the library says nothing more once it has said that it goes away."""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, Peer]]:
    peer = Peer()
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0)
    made = await connect("127.0.0.1", server.sockets[0].getsockname()[1], None, 5)
    await peer.connected.wait()
    try:
        yield made, peer
    finally:
        made.abort()
        await made.closed
        await peer.end()
        server.close()
        await server.wait_closed()


async def ask(made: Connection, what: bytes = b"ask") -> bytes:
    return (await made.ask(BLOCK, what, BYTES_MAX)).messages[0]


class Counting:
    """A transport whose writes are counted."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes = 0

    def write(self, what: bytes) -> None:
        self.writes += 1
        self._transport.write(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def calls_go_side_by_side_and_in_one_piece() -> None:
    async with connected() as (made, peer):
        await peer.hears(lambda server: any(isinstance(e, SettingsAcknowledged) for e in server.others))
        assert made._transport is not None
        counting = Counting(made._transport)
        made._transport = cast("asyncio.Transport", counting)
        asking = [asyncio.create_task(ask(made, b"%d" % each)) for each in range(8)]
        for stream in range(15, 0, -2):
            peer.answer(stream, b"to " + await peer.asked(stream))
        assert await asyncio.gather(*asking) == [b"to %d" % each for each in range(8)]
        assert counting.writes == 1
        assert made.usable


async def small_writes_go_out_at_once() -> None:
    async with connected() as (made, _):
        assert made.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def a_connection_that_is_closed_is_of_no_use() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(ask(made))
        await peer.asked(1)
        peer.writer.close()
        with pytest.raises(ConnectionError):
            await asking
        await made.closed
        assert not made.usable
        with pytest.raises(ConnectionError):
            await ask(made)


async def what_is_no_http2_is_told_to_all() -> None:
    async with connected() as (made, peer):
        asking = [asyncio.create_task(ask(made)) for _ in range(2)]
        await peer.asked(3)
        peer.writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        for each in asking:
            with pytest.raises(PeerError):
                await each
        await made.closed
        assert not made.usable


async def whoever_gives_up_leaves_the_others_alone() -> None:
    async with connected() as (made, peer):
        stays, goes = (asyncio.create_task(ask(made, each)) for each in (b"stays", b"goes"))
        await peer.asked(3)
        goes.cancel()
        await asyncio.wait({goes})
        await peer.hears(lambda server: server.requests[3].reset == 8)
        peer.answer(1, b"fine")
        assert await stays == b"fine"
        again = asyncio.create_task(ask(made))
        await peer.asked(5)
        peer.answer(5, b"again")
        assert await again == b"again"


async def who_goes_away_finishes_first() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(ask(made))
        await peer.asked(1)
        peer.server.h2.close_connection(last_stream_id=1)
        away = peer.server.take()
        assert away
        peer.writer.write(away)
        await eventually(lambda: not made.usable)
        with pytest.raises(ConnectionError):
            made.begin(BLOCK, b"", BYTES_MAX)
        peer.writer.write(REST)
        assert await asking == b"fine"
        await made.closed


async def one_that_is_retired_finishes_first() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(ask(made))
        await peer.asked(1)
        made.retire()
        assert not made.usable
        peer.answer(1, b"fine")
        assert await asking == b"fine"
        await made.closed


async def one_that_is_retired_at_rest_is_closed() -> None:
    async with connected() as (made, _):
        made.retire()
        await made.closed


async def a_lasting_call_comes_message_by_message() -> None:
    async with connected() as (made, peer):
        call = made.begin(BLOCK, b"watch", BYTES_MAX, lasts=True)
        await peer.hears(lambda server: 1 in server.requests)
        peer.server.begin(1)
        for each in (b"one", b"two"):
            waiting = asyncio.create_task(made.next(call))
            peer.server.say(1, each)
            peer.flush()
            assert await waiting == each
        peer.server.end(1)
        peer.flush()
        assert await made.next(call) is None
        made.leave(call)
        assert made.usable


async def a_lasting_call_ends_with_its_connection() -> None:
    async with connected() as (made, peer):
        call = made.begin(BLOCK, b"watch", BYTES_MAX, lasts=True)
        waiting = asyncio.create_task(made.next(call))
        await peer.hears(lambda server: 1 in server.requests)
        peer.writer.transport.abort()
        with pytest.raises(ConnectionError):
            await waiting
        made.leave(call)


async def a_slow_taker_holds_the_peer_back() -> None:
    async with connected() as (made, peer):
        call = made.begin(BLOCK, b"watch", BYTES_MAX, lasts=True)
        await peer.hears(lambda server: 1 in server.requests)
        peer.server.begin(1)
        message, total = bytes(10_000), 400
        sent = taken = 0
        while sent < total:
            while sent < total and peer.server.h2.local_flow_control_window(1) >= len(enclosed(message)):
                peer.server.say(1, message)
                sent += 1
            peer.flush()
            assert (sent - taken) * len(message) <= WINDOW
            while taken < sent:
                assert await made.next(call) == message
                taken += 1
            await peer.hears(lambda server: server.h2.local_flow_control_window(1) > len(message) + 5)
        made.leave(call)


async def pings_are_answered_in_time() -> None:
    async with connected() as (made, peer):
        for _ in range(3):
            peer.server.h2.ping(b"12345678")
        peer.flush()
        acks = PingAckReceived
        await peer.hears(lambda server: sum(isinstance(each, acks) for each in server.others) == 3)
        assert made.usable


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "what",
    [
        calls_go_side_by_side_and_in_one_piece,
        small_writes_go_out_at_once,
        a_connection_that_is_closed_is_of_no_use,
        what_is_no_http2_is_told_to_all,
        whoever_gives_up_leaves_the_others_alone,
        who_goes_away_finishes_first,
        one_that_is_retired_finishes_first,
        one_that_is_retired_at_rest_is_closed,
        a_lasting_call_comes_message_by_message,
        a_lasting_call_ends_with_its_connection,
        a_slow_taker_holds_the_peer_back,
        pings_are_answered_in_time,
    ],
)
def test_on_both_loops(what: Callable[[], Awaitable[None]], run: Callable[[Awaitable[None]], None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await what()

    run(bounded())


@pytest.mark.parametrize(
    ("context", "greeting", "told"),
    [
        (ssl.create_default_context(), b"", "may ask for a client certificate"),
        (ssl.create_default_context(), frame(SETTINGS, 0, 0), "reset by peer$"),
        (None, b"", "reset by peer$"),
    ],
)
async def test_a_member_that_hangs_up_before_a_word_may_want_a_certificate(
    context: ssl.SSLContext | None, greeting: bytes, told: str
) -> None:
    made = Connection(context)
    if greeting:
        made.data_received(greeting)
    made.connection_lost(ConnectionResetError("reset by peer"))
    with pytest.raises(ConnectionResetError, match=told):
        made.begin(BLOCK, b"", BYTES_MAX)
