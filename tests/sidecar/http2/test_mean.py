"""Applications and clients that keep to the protocol, and do at each moment what serves us worst."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings

from globaltx import http2_frames
from globaltx.coordinator.policy import Route
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.proxy import HOLD_BYTES_MAX
from tests.sidecar.eventually import eventually
from tests.sidecar.http.scene import Scene, in_front_of
from tests.sidecar.http2.scene import ROUTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from h2.events import Event

SECONDS = 20.0
PLAIN = [(":method", "POST"), (":scheme", "http"), (":authority", "bank")]
GRPC = [*PLAIN, ("content-type", "application/grpc"), ("te", "trailers")]
MESSAGE = bytes(5)


@dataclass
class Mean:
    """An application: ``does`` is told of all that comes in, on whatever connection."""

    does: Callable[[H2Connection, Event], None]
    streams: int = 100
    seen: list[list[tuple[str, str]]] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        most = {SettingCodes.MAX_CONCURRENT_STREAMS: self.streams}
        server.local_settings = Settings(client=False, initial_values=most)
        server.initiate_connection()
        writer.write(server.data_to_send())
        try:
            while data := await reader.read(65536):
                for event in server.receive_data(data):
                    if isinstance(event, events.RequestReceived):
                        self.seen.append(list(event.headers))  # type: ignore[arg-type]  # str, as asked
                    self.does(server, event)
                writer.write(server.data_to_send())
        except ConnectionError:
            pass
        finally:
            writer.close()


@dataclass
class Client:
    """A client, and what it was told of each stream."""

    h2: H2Connection
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: dict[int, list[Event]] = field(default_factory=dict)
    frames: http2_frames.FrameReader = field(default_factory=http2_frames.FrameReader)

    def ask(self, stream: int, headers: list[tuple[str, str]], path: str, body: bytes = MESSAGE) -> None:
        self.h2.send_headers(stream, [(":path", path), *headers])
        self.h2.send_data(stream, body, end_stream=True)
        self.writer.write(self.h2.data_to_send())

    async def until(self, stream: int) -> list[Event]:
        """All of a stream's events until it is over."""
        while not any(isinstance(each, _LAST) for each in self.told.get(stream, ())):
            data = await self.reader.read(65536)
            assert data, "the connection was closed"
            for frame in self.frames.feed(data):
                if frame.kind != http2_frames.GOAWAY:  # after which `h2` reads nothing
                    for event in self.h2.receive_data(frame.raw):
                        self._note(event)
            self.writer.write(self.h2.data_to_send())
        return self.told[stream]

    def _note(self, event: Event) -> None:
        self.told.setdefault(getattr(event, "stream_id", None) or 0, []).append(event)
        if isinstance(event, events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


_LAST = (events.StreamEnded, events.StreamReset)


@asynccontextmanager
async def between(application: Mean, routes: Filter | None = None) -> AsyncIterator[tuple[Scene, Client]]:
    """Run both; at the end nothing is under way."""
    server = await asyncio.start_server(application.talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, in_front_of(port, routes=routes or Filter(ROUTES)) as scene, asyncio.timeout(SECONDS):
        reader, writer = await scene.connect()
        client = Client(H2Connection(H2Configuration(header_encoding="utf-8")), reader, writer)
        client.h2.initiate_connection()
        try:
            yield scene, client
            await eventually(lambda: scene.proxy.under_way.count == 0)
        finally:
            writer.close()


def codes(told: list[Event]) -> list[int]:
    return [each.error_code for each in told if isinstance(each, events.StreamReset)]


def head_of(told: list[Event]) -> dict[str, str]:
    """The one head of an answer."""
    (head,) = [each for each in told if isinstance(each, events.ResponseReceived)]
    return dict(head.headers)  # type: ignore[arg-type]  # str, as asked


def outcomes(scene: Scene) -> list[str]:
    return [str(each.outcome) for each in scene.store.decided.values()]


def answers(server: H2Connection, event: Event) -> None:
    if isinstance(event, events.StreamEnded):
        server.send_headers(event.stream_id, [(":status", "200")], end_stream=True)


async def test_an_answer_that_breaks_off_beyond_what_is_held_back_breaks_off_for_the_client() -> None:
    """Its head has decided, so that the outcome stands."""
    left: dict[int, int] = {}

    def breaks_off(server: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamEnded):
            server.send_headers(event.stream_id, [(":status", "200")])
            left[event.stream_id] = HOLD_BYTES_MAX + 1
        for stream, size in tuple(left.items()):
            rest = size
            while room := min(server.local_flow_control_window(stream), 16384, rest):
                server.send_data(stream, bytes(room))
                rest -= room
            left[stream] = rest
            if not rest:
                server.reset_stream(stream, ErrorCodes.INTERNAL_ERROR)
                del left[stream]

    async with between(Mean(breaks_off)) as (scene, client):
        client.ask(1, PLAIN, "/bank/Begins")
        told = await client.until(1)
        assert codes(told) == [ErrorCodes.INTERNAL_ERROR]
        assert outcomes(scene) == ["Commit"]


async def test_a_status_that_does_not_stand_at_the_end_is_none() -> None:
    """A client of gRPC looks for it in the trailers, or in a head that nothing follows, and nowhere else."""

    def without_trailers(server: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamEnded):
            head = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0")]
            server.send_headers(event.stream_id, head)
            server.send_data(event.stream_id, MESSAGE, end_stream=True)

    async with between(Mean(without_trailers)) as (scene, client):
        client.ask(1, GRPC, "/bank/Begins")
        await client.until(1)
        assert outcomes(scene) == ["Rollback"]


async def test_what_waits_while_the_application_goes_away_is_refused() -> None:
    """It answers none of what comes after the last stream that it named."""

    def goes_away(server: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamEnded) and event.stream_id == 1:
            server.send_headers(1, [(":status", "200")])
            server.send_data(1, b"begun")
            server._data_to_send += http2_frames.goaway(1)  # `h2` itself would end all at once
            server.send_data(1, b"done", end_stream=True)

    application = Mean(goes_away, streams=1)
    async with between(application) as (_, client):
        client.ask(1, PLAIN, "/bank/Any")
        client.ask(3, PLAIN, "/bank/Any")
        refused = await client.until(3)
        assert codes(refused) == [ErrorCodes.REFUSED_STREAM]
        assert any(isinstance(each, events.StreamEnded) for each in await client.until(1))
    assert len(application.seen) == 1


async def test_at_an_edge_no_name_is_the_better_for_an_underscore_anywhere() -> None:
    application = Mean(answers)
    names = ("x-dbpack-xid", "x_dbpack-xid", "x-dbpack_xid", "x_dbpack_xid")
    async with between(application, Filter(edge=True)) as (_, client):
        client.ask(1, [*PLAIN, *((each, "shop.t1") for each in names)], "/bank/Any")
        await client.until(1)
    assert "shop.t1" not in dict(application.seen[0]).values()


async def test_a_refusal_tells_of_bytes_that_are_no_text() -> None:
    async with between(Mean(answers)) as (_, client):
        client.h2.send_headers(1, [(b":path", b"\xff"), *GRPC], end_stream=True)
        client.writer.write(client.h2.data_to_send())
        told = await client.until(1)
        head = head_of(told)
        assert (head["grpc-status"], "%FF" in head["grpc-message"]) == ("12", True)


async def test_a_refusal_that_is_not_read_yet_is_given_once_whatever_the_application_does() -> None:
    def dies(_: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamEnded):
            raise ConnectionError

    async with between(Mean(dies)) as (_, client):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.ask(1, PLAIN, "/bank/Strict")
        client.ask(3, GRPC, "/bank/Any")
        assert any(isinstance(each, events.StreamEnded) for each in await client.until(3))
        client.h2.increment_flow_control_window(65535, 1)
        client.writer.write(client.h2.data_to_send())
        assert head_of(await client.until(1))[":status"] == "400"


async def test_an_early_hint_that_crosses_a_request_taken_back_ends_nothing_else() -> None:
    """It was on its way when the application was told."""

    def hints_late(server: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamReset):
            block = server.encoder.encode([(":status", "103"), ("link", "</a>")])
            server._data_to_send += http2_frames.frame(
                http2_frames.HEADERS, http2_frames.END_HEADERS, 1, block
            )
            server.send_headers(3, [(":status", "200")], end_stream=True)

    application = Mean(hints_late)
    async with between(application) as (_, client):
        client.ask(1, PLAIN, "/bank/Any")
        client.ask(3, PLAIN, "/bank/Any")
        await eventually(lambda: len(application.seen) == 2)
        client.h2.reset_stream(1, ErrorCodes.CANCEL)
        client.writer.write(client.h2.data_to_send())
        assert head_of(await client.until(3))[":status"] == "200"


@pytest.mark.parametrize(
    ("method", "status", "outcome"),
    [("POST", "200", "Rollback"), ("HEAD", "200", "Commit"), ("POST", "304", "Commit")],
)
async def test_an_answer_that_says_it_has_a_body_and_ends_is_none(
    method: str, status: str, outcome: str
) -> None:
    def cuts_short(server: H2Connection, event: Event) -> None:
        if isinstance(event, events.StreamEnded):
            pairs = [(":status", status), ("content-length", "100")]
            server.send_headers(event.stream_id, pairs, end_stream=True)

    route = Route("all", path="/all", method=method, commit_statuses=frozenset({200, 304}))
    async with between(Mean(cuts_short), Filter((route,))) as (scene, client):
        client.h2.send_headers(1, [(":path", "/all"), (":method", method), *PLAIN[1:]], end_stream=True)
        client.writer.write(client.h2.data_to_send())
        await client.until(1)
        assert outcomes(scene) == [outcome]
