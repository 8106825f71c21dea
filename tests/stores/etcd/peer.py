"""The other side of a connection: a server of HTTP/2 by a library that is none of ours."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2.settings import SettingCodes

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0"), ("grpc-message", "")]


def enclosed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


@dataclass
class Request:
    headers: dict[bytes, bytes]
    body: bytes = b""
    whole: bool = False
    reset: int | None = None

    @property
    def message(self) -> bytes:
        assert self.body[:5] == enclosed(self.body[5:])[:5]
        return self.body[5:]


@dataclass
class Server:
    """Knows what it was asked, and answers when it is told to."""

    settings: dict[SettingCodes | int, int] = field(default_factory=dict)
    acknowledges: bool = True
    requests: dict[int, Request] = field(default_factory=dict)
    others: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.h2.initiate_connection()
        if self.settings:
            self.h2.update_settings(self.settings)

    def feed(self, came: bytes) -> None:
        for event in self.h2.receive_data(came):
            match event:
                case RequestReceived():
                    self.requests[event.stream_id] = Request(dict(event.headers))
                case DataReceived():
                    self.requests[event.stream_id].body += event.data
                    if self.acknowledges:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    self.requests[event.stream_id].whole = True
                case StreamReset():
                    self.requests[event.stream_id].reset = event.error_code
                case _:
                    self.others.append(event)

    def take(self) -> bytes:
        return self.h2.data_to_send()

    def begin(self, stream: int) -> None:
        self.h2.send_headers(stream, HEADERS)

    def say(self, stream: int, message: bytes, size: int = 16384) -> int:
        """Send a message as far as it may; how much of it that was."""
        data, at = enclosed(message), 0
        while at < len(data) and (room := self.h2.local_flow_control_window(stream)):
            piece = data[at : at + min(size, room, 16384)]
            self.h2.send_data(stream, piece)
            at += len(piece)
        return at

    def end(self, stream: int, *status: tuple[str, str]) -> None:
        self.h2.send_headers(stream, status or OK, end_stream=True)

    def answer(self, stream: int, message: bytes) -> None:
        self.begin(stream)
        self.say(stream, message)
        self.end(stream)


class Peer:
    """A server that does what it is told with its one connection."""

    def __init__(self) -> None:
        self.server = Server()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter
        self.connected = asyncio.Event()
        self._heard = asyncio.Condition()
        self._hearing: asyncio.Task[None] | None = None

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._hearing = asyncio.current_task()
        self.flush()
        self.connected.set()
        with suppress(ConnectionError):
            while came := await reader.read(1 << 20):
                async with self._heard:
                    self.server.feed(came)
                    self._heard.notify_all()
                self.flush()

    async def hears(self, what: Callable[[Server], bool]) -> None:
        async with self._heard:
            await self._heard.wait_for(lambda: what(self.server))

    async def asked(self, stream: int) -> bytes:
        await self.hears(lambda server: stream in server.requests and server.requests[stream].whole)
        return self.server.requests[stream].message

    def answer(self, stream: int, message: bytes) -> None:
        self.server.answer(stream, message)
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.server.take())

    async def end(self) -> None:
        self.writer.transport.abort()
        if self._hearing is not None:
            await asyncio.wait({self._hearing})
