"""Requests of HTTP/2 that are not gRPC, by curl; the application is a small server over h2."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, TrailersReceived, WindowUpdated

from globaltx_sidecar.http.filter import Filter
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import ROUTES, FaultyStore, Scene, in_front_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")

HEADERS = [(":method", "POST"), (":scheme", "http"), (":authority", "shop")]


@dataclass
class Shop:
    """A server that gives one answer to all; ``early``: before it has read the request's body."""

    status: str = "200"
    body: bytes = b"ok"
    early: bool = False
    seen: list[dict[str, str]] = field(default_factory=list)
    received: int = 0
    trailers: list[tuple[str, str]] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        server.initiate_connection()
        left: dict[int, bytes] = {}
        writer.write(server.data_to_send())
        while data := await reader.read(65536):
            for event in server.receive_data(data):
                if isinstance(event, RequestReceived):
                    self.seen.append(dict(event.headers))  # type: ignore[arg-type]  # they are str as asked
                if isinstance(event, TrailersReceived):
                    self.trailers += event.headers  # type: ignore[arg-type]  # as above
                if isinstance(event, DataReceived):
                    self.received += len(event.data)
                    server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, RequestReceived if self.early else StreamEnded):
                    server.send_headers(event.stream_id, [(":status", self.status)])
                    left[event.stream_id] = self.body
                if isinstance(event, RequestReceived | StreamEnded | WindowUpdated):
                    self._send(server, left)
            writer.write(server.data_to_send())
            await writer.drain()

    def _send(self, server: H2Connection, left: dict[int, bytes]) -> None:
        for stream, body in tuple(left.items()):
            rest = body
            while room := min(server.local_flow_control_window(stream), 16384, len(rest)):
                server.send_data(stream, rest[:room])
                rest = rest[room:]
            left[stream] = rest
            if not rest:
                server.end_stream(stream)
                del left[stream]


@dataclass
class Curled:
    status: str
    headers: str
    body: bytes


@asynccontextmanager
async def shop(application: Shop, store: FaultyStore | None = None) -> AsyncIterator[Scene]:
    server = await asyncio.start_server(application.talk, "127.0.0.1", 0)
    async with server, in_front_of(server.sockets[0].getsockname()[1], store, Filter(ROUTES)) as scene:
        yield scene


async def curl(scene: Scene, path: str, *more: str, body: bytes = b"") -> Curled:
    arguments = ["--silent", "--http2-prior-knowledge", "--include", "--max-time", "60", *more]
    if body:
        arguments += ["--data-binary", "@-"]
    process = await asyncio.create_subprocess_exec(
        "curl",
        *arguments,
        f"http://127.0.0.1:{scene.port}{path}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate(body)
    head, _, rest = told.partition(b"\r\n\r\n")
    return Curled(head.split()[1].decode() if head else "", head.decode(), rest)


async def test_a_request_is_passed_on() -> None:
    application = Shop(body=b"x" * 3_000_000)
    async with shop(application) as scene:
        answer = await curl(scene, "/anything?a=1", "-H", "X-Mine: 1", body=bytes(2_000_000))
    assert (answer.status, answer.body) == ("200", application.body)
    assert application.received == 2_000_000
    assert (application.seen[0][":path"], application.seen[0]["x-mine"]) == ("/anything?a=1", "1")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("200", "Commit RequestSucceeded"),
        ("201", "Rollback RequestFailed"),
        ("500", "Rollback RequestFailed"),
    ],
)
async def test_the_status_decides(status: str, outcome: str) -> None:
    application = Shop(status)
    async with shop(application) as scene:
        answer = await curl(scene, "/create", "-X", "POST")
    (xid,) = scene.store.decided
    assert (answer.status, answer.body) == (status, b"ok")
    assert f"globaltx-xid: {xid}" in answer.headers
    assert application.seen[0]["globaltx-xid"] == str(xid)
    decision = scene.store.decided[xid]
    assert f"{decision.outcome} {decision.reason}" == outcome


@pytest.mark.parametrize("more", [[], [("x-mine", "1")]])
async def test_no_trailer_of_a_request_says_whose_it_is_or_of_which_transaction(
    more: list[tuple[str, str]],
) -> None:
    application, client = Shop(), H2Connection()
    async with shop(application) as scene:
        _, writer = await scene.connect()
        client.initiate_connection()
        client.send_headers(1, [*HEADERS, (":path", "/anything")])
        never = [("globaltx-xid", "shop.t1"), ("globaltx_xid", "shop.t1"), ("cookie", "a=1")]
        client.send_headers(1, [*never, *more], end_stream=True)
        writer.write(client.data_to_send())
        await eventually(lambda: bool(application.seen) and scene.proxy.under_way.count == 0)
        writer.close()
    assert application.trailers == more


async def test_a_large_answer_is_streamed_after_the_outcome() -> None:
    application = Shop(body=b"x" * 3_000_000)
    async with shop(application) as scene:
        answer = await curl(scene, "/create", "-X", "POST")
    assert answer.body == application.body
    assert [each.outcome for each in scene.store.decided.values()] == ["Commit"]


async def test_an_answer_before_the_request_is_whole_counts() -> None:
    application = Shop(early=True)
    async with shop(application) as scene, asyncio.timeout(30):
        reader, writer = await scene.connect()
        client = H2Connection()
        client.initiate_connection()
        client.send_headers(1, [*HEADERS, (":path", "/create")])
        client.send_data(1, b"first")
        writer.write(client.data_to_send())
        answered = False
        while not answered:
            for event in client.receive_data(await reader.read(65536)):
                answered |= isinstance(event, StreamEnded)
        client.send_data(1, b"last", end_stream=True)
        writer.write(client.data_to_send())
        await eventually(lambda: scene.proxy.under_way.count == 0)
        writer.close()
    assert application.received == len(b"firstlast")
    assert [each.outcome for each in scene.store.decided.values()] == ["Commit"]


async def test_a_refusal_is_json() -> None:
    application = Shop()
    async with shop(application) as scene:
        answer = await curl(scene, "/strict", "-X", "POST")
        tried = await curl(scene, "/accounts/7/debit", "-X", "POST", "-H", "xid: shop.t1")
        web = await curl(scene, "/create", "-X", "POST", "-H", "content-type: application/grpc-web+proto")
    assert (answer.status, b'"reason": "XidRequired"' in answer.body) == ("400", True)
    assert (tried.status, web.status) == ("501", "501")
    assert application.seen == []
