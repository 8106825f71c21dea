"""WebSocket through the proxy: by a real client and server of it, and by raw bytes."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.xid import Xid
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import CREATE, Scene, Seen, pump, read_request, staged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

XID = Xid("shop", "t1")
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Mine: 1\r\n\r\n"
BIG = b"x" * (4 * 1024 * 1024)
ROOM = b"x" * (16 * 1024)
FLOOD_BYTES_MAX, HELD_BYTES_MAX = 256 * 1024 * 1024, 64 * 1024 * 1024


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that switches and then sends back whatever comes."""
    try:
        await read_request(reader)
        writer.write(SWITCH)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def chat() -> AsyncIterator[Scene]:
    """A WebSocket server of aiohttp behind the proxy."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        socket = web.WebSocketResponse(compress=True)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.headers.get('globaltx-xid', '')}:{message.data}")
        return socket

    server = web.Server(handle)
    behind = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    try:
        async with staged(relay) as scene:
            yield scene
    finally:
        behind.close()
        await server.shutdown(1)


async def test_a_real_client_talks_with_a_real_server() -> None:
    async with chat() as scene, aiohttp.ClientSession() as session:
        await scene.store.begin(GlobalTransaction(XID, "web", CREATE.timeout))
        url = f"http://127.0.0.1:{scene.port}/chat"
        async with session.ws_connect(url, headers={"xid": str(XID)}, compress=15) as socket:
            for word in ("one", "two" * 50_000):
                await socket.send_str(word)
                assert await socket.receive_str(timeout=10) == f"{XID}:{word}"
        async with session.ws_connect(url) as socket:
            await socket.send_str("one")
            assert await socket.receive_str(timeout=10) == ":one"
        await eventually(lambda: scene.proxy.under_way.count == 0)


async def opened(scene: Scene, path: bytes = b"/chat") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await scene.connect()
    writer.write(UPGRADE % path + b"early")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"X-Mine: 1\r\n" in head
    assert b"Upgrade: websocket\r\n" in head
    return reader, writer


async def test_what_was_sent_early_is_not_lost_and_much_of_it_waits() -> None:
    async with staged(echo) as scene, asyncio.timeout(30):
        reader, writer = await opened(scene)
        assert await reader.readexactly(5) == b"early"
        writer.write(BIG)
        assert await reader.readexactly(len(BIG)) == BIG
        writer.close()
        await eventually(lambda: scene.proxy.under_way.count == 0)


class Flood:
    """A server that switches and then sends more than anybody should hold for a client that does not read."""

    def __init__(self, first: bytes = b"", behind: int = 0) -> None:
        self._first = first + SWITCH + b"x" * behind
        self.sent = behind

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(self._first)
        try:
            while self.sent < FLOOD_BYTES_MAX:
                writer.write(b"x" * 65536)
                await writer.drain()
                self.sent += 65536
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def stands_still(self) -> int:
        """Return how much was sent when for a while it was no more."""
        before = -1
        while before != self.sent:
            before = self.sent
            await asyncio.sleep(0.5)
        return before


async def test_who_does_not_read_is_waited_for_and_not_buffered_for() -> None:
    flood = Flood()
    async with staged(flood) as scene:
        reader, writer = await opened(scene)
        sent = await flood.stands_still()
        assert sent < HELD_BYTES_MAX
        async with asyncio.timeout(30):
            await reader.readexactly(sent + 1024 * 1024)  # reading on lets it go on
        writer.transport.abort()
        await eventually(lambda: scene.proxy.under_way.count == 0)


async def test_who_is_full_already_when_the_application_switches_is_waited_for_too() -> None:
    """What came before the 101 fills the client's connection; nobody tells again that it is full.

    Much comes together with the 101, too: to take that lets an application go on.
    """
    hint = b"HTTP/1.1 103 Early Hints\r\n" + b"".join(b"X-%d: %b\r\n" % (each, ROOM) for each in range(8))
    flood = Flood((hint + b"\r\n") * 4, behind=200 * 1024)
    async with staged(flood) as scene:
        scene.server._listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(ROOM))
        with socket.socket() as narrow:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, len(ROOM))
            narrow.settimeout(0)
            await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", scene.port))
            narrow.send(UPGRADE % b"/chat")
            sent = await flood.stands_still()
            assert 0 < sent < HELD_BYTES_MAX
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(sock=narrow, limit=1024 * 1024)
                for _ in range(4):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 103 ")
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                assert set(await reader.readexactly(sent + 1024 * 1024)) == {ord("x")}
            writer.transport.abort()
            await eventually(lambda: scene.proxy.under_way.count == 0)


async def test_an_application_that_hangs_up_closes_the_client_s_side() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(SWITCH + b"bye")
        writer.close()

    async with staged(leave) as scene, asyncio.timeout(30):
        reader, writer = await opened(scene)
        assert await reader.read() == b"bye"
        writer.close()
        await eventually(lambda: scene.proxy.under_way.count == 0)


async def test_an_application_that_does_not_switch_gives_its_answer() -> None:
    seen: list[Seen] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nnone")
        writer.close()

    async with staged(refuse) as scene:
        answer = await scene.ask(UPGRADE % b"/chat")
    assert answer.startswith(b"HTTP/1.1 403 No\r\n")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"none")
    assert seen[0].header("upgrade") == ["websocket"]


@pytest.mark.parametrize("path", [b"/create", b"/accounts/7/debit"])
async def test_a_route_that_begins_is_no_websocket(path: bytes) -> None:
    async with staged(echo) as scene:
        answer = await scene.ask((UPGRADE % path).replace(b"GET", b"POST", 1))  # until it is closed
    assert answer.startswith(b"HTTP/1.1 501 ")
