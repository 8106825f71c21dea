from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from globaltx.stores.etcd.connection import HELD_BYTES_MAX, Connection, connect
from globaltx.stores.etcd.wire import AnswerError
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LASTING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY_MAX = 1024


class Peer:
    """A server that does what it is told with its one connection."""

    def __init__(self) -> None:
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.connected = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.connected.set()

    async def hear(self) -> bytes:
        return await self.reader.readexactly(3)

    def say(self, what: bytes) -> None:
        self.writer.write(what)


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
        peer.writer.transport.abort()
        server.close()
        await server.wait_closed()


async def answers_follow_each_other() -> None:
    async with connected() as (made, peer):
        for _ in range(3):
            asking = asyncio.create_task(made.ask(b"ask", BODY_MAX))
            assert await peer.hear() == b"ask"
            assert not made.usable
            peer.say(OK)
            assert await asking == (200, b"ok")
            assert made.usable


async def small_writes_go_out_at_once() -> None:
    async with connected() as (made, _):
        assert made.socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def a_connection_that_is_closed_is_of_no_use() -> None:
    async with connected() as (made, peer):
        peer.writer.close()
        await made.closed
        assert not made.usable
        with pytest.raises(ConnectionError):
            await made.ask(b"ask", BODY_MAX)


async def an_answer_that_breaks_off_is_told() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.ask(b"ask", BODY_MAX))
        await peer.hear()
        peer.say(OK[:-1])
        peer.writer.close()
        with pytest.raises(AnswerError):
            await asking
        assert not made.usable


async def one_that_says_to_close_is_closed() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.ask(b"ask", BODY_MAX))
        await peer.hear()
        peer.say(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
        assert await asking == (200, b"ok")
        assert not made.usable


async def whoever_gives_up_leaves_no_connection_to_another() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.ask(b"ask", BODY_MAX))
        await peer.hear()
        asking.cancel()
        await asyncio.wait({asking})
        assert not made.usable


async def more_than_the_bound_is_refused() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.ask(b"ask", BODY_MAX))
        await peer.hear()
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
        with pytest.raises(AnswerError):
            await asking


async def who_speaks_unasked_is_dropped() -> None:
    async with connected() as (made, peer):
        peer.say(OK)
        await made.closed
        assert not made.usable


async def a_lasting_answer_comes_piece_by_piece() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.status(b"ask"))
        await peer.hear()
        peer.say(LASTING)
        assert await asking == 200
        pieces = made.pieces(60)
        for _ in range(3):
            peer.say(b"2\r\nab\r\n")
            assert await anext(pieces) == b"ab"
        peer.say(b"0\r\n\r\n")
        assert [each async for each in pieces] == []


async def a_silence_is_told() -> None:
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.status(b"ask"))
        await peer.hear()
        peer.say(LASTING)
        await asking
        with pytest.raises(TimeoutError):
            await anext(made.pieces(0.01))


async def a_slow_reader_holds_the_peer_back() -> None:
    chunk, number = b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 256
    async with connected() as (made, peer):
        asking = asyncio.create_task(made.status(b"ask"))
        await peer.hear()
        peer.say(LASTING)
        await asking
        peer.writer.transport.set_write_buffer_limits(high=0)
        peer.say(chunk * number)
        draining = asyncio.create_task(peer.writer.drain())
        await eventually(lambda: not made.listens)
        assert made.held <= HELD_BYTES_MAX + 2**20
        assert not draining.done()
        pieces, seen = made.pieces(60), 0
        while seen < number * 0x10000:
            seen += len(await anext(pieces))
        await draining


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "what",
    [
        answers_follow_each_other,
        small_writes_go_out_at_once,
        a_connection_that_is_closed_is_of_no_use,
        an_answer_that_breaks_off_is_told,
        one_that_says_to_close_is_closed,
        whoever_gives_up_leaves_no_connection_to_another,
        more_than_the_bound_is_refused,
        who_speaks_unasked_is_dropped,
        a_lasting_answer_comes_piece_by_piece,
        a_silence_is_told,
        a_slow_reader_holds_the_peer_back,
    ],
)
def test_on_both_loops(what: Callable[[], Awaitable[None]], run: Callable[[Awaitable[None]], None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await what()

    run(bounded())
