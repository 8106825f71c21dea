"""What the application does not read at once waits, and is passed on whole when it does."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import grpc.aio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.settings import SettingCodes, Settings
from multidict import CIMultiDict

from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.upstream import Upstream
from globaltx_sidecar.http2.bridge import Bridge
from globaltx_sidecar.http2.metadata import NOTHING
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import in_front_of
from tests.sidecar.http2.scene import OPTIONS, ROUTES, SECONDS

if TYPE_CHECKING:
    from globaltx_sidecar.http2.calling import Answer

MANY = 16 * 1024 * 1024
OTHERS = 3


class Busy:
    """A server that has room for much, reads nothing before it is told to, and answers the first last."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.answered: list[int] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = H2Connection(H2Configuration(client_side=False))
        server.local_settings = Settings(
            client=False, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: MANY}
        )
        server.initiate_connection()
        server.increment_flow_control_window(MANY)
        writer.write(server.data_to_send())
        await self.go.wait()
        try:
            while data := await reader.read(65536):
                for event in server.receive_data(data):
                    if isinstance(event, StreamEnded) and event.stream_id > 1:
                        self._answer(server, event.stream_id)
                if len(self.answered) == OTHERS:
                    self._answer(server, 1)
                writer.write(server.data_to_send())
        finally:
            writer.transport.abort()

    def _answer(self, server: H2Connection, stream: int) -> None:
        self.answered.append(stream)
        server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        server.send_data(stream, NOTHING)
        server.send_headers(stream, [("grpc-status", "0")], end_stream=True)


async def test_requests_that_come_while_the_application_does_not_read_are_all_passed_on() -> None:
    busy = Busy()
    server = await asyncio.start_server(busy, "127.0.0.1", 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with (
        server,
        in_front_of(server.sockets[0].getsockname()[1], routes=Filter(ROUTES)) as scene,
        grpc.aio.insecure_channel(f"127.0.0.1:{scene.port}", options=OPTIONS) as channel,
    ):

        async def call(message: bytes) -> bytes:
            return bytes(await channel.unary_unary("/bank/Any")(message, timeout=SECONDS))

        calling = [asyncio.create_task(call(bytes(MANY // 2)))]
        await eventually(lambda: bool(scene.server._arrivals._door and scene.server._arrivals._door._open))
        assert scene.server._arrivals._door is not None
        (bridge,) = scene.server._arrivals._door._open
        assert isinstance(bridge, Bridge)
        await eventually(lambda: bridge.application.paused)
        calling += [asyncio.create_task(call(b"")) for _ in range(OTHERS)]
        await eventually(lambda: len(bridge._requests) == 4)
        busy.go.set()
        assert await asyncio.gather(*calling) == [b""] * 4
    assert sorted(busy.answered) == [1, 3, 5, 7]


async def test_our_own_calls_wait_too() -> None:
    busy = Busy()
    server = await asyncio.start_server(busy, "127.0.0.1", 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    headers = CIMultiDict({"content-type": "application/grpc"})
    async with server, Upstream(server.sockets[0].getsockname()[1]) as upstream:

        def call(message: bytes) -> asyncio.Task[Answer]:
            return asyncio.create_task(upstream.call_grpc("/bank/Any", headers, message, SECONDS))

        calling = [call(bytes(MANY // 2))]
        await eventually(lambda: bool(upstream._lines and upstream._lines._open))
        assert upstream._lines is not None
        (line,) = upstream._lines._open
        await eventually(lambda: line._side.paused)
        calling += [call(NOTHING) for _ in range(OTHERS)]
        await eventually(lambda: len(line._waiting) == OTHERS)
        busy.go.set()
        assert [each.status for each in await asyncio.gather(*calling)] == [0] * 4
    assert sorted(busy.answered) == [1, 3, 5, 7]
