"""Upgraded connections (WebSocket): after the application's 101, bytes go both ways unread.

aiohttp hands what comes in from the client after an upgrade to a parser of the protocol that follows. Ours
passes it on as it is. Neither side is read on while the other one does not take what has come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from globaltx_sidecar.http.headers import end_to_end
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.http1.heads import answer_head

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.base_protocol import BaseProtocol
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.connection import Reply

PROTOCOL = "websocket"
"""What an upgrade may ask for."""


class Tunnelled(web.StreamResponse):
    """An answer that has been given already; nothing more is to be written."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        """Do nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing."""


class _End(asyncio.Protocol):
    """The application's end: what it sends goes to the client, as fast as that takes it."""

    def __init__(self, application: asyncio.Transport, client: BaseProtocol, over: asyncio.Event) -> None:
        self.transport = application
        self._client, self._over = client, over
        self._room = asyncio.Event()
        self._room.set()
        self._full = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        transport = self._client.transport
        if transport is None or transport.is_closing():
            self._over.set()
            return
        transport.write(data)
        if self._client.writing_paused:
            self.transport.pause_reading()
            self._full.set()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._room.set()
        self._over.set()

    def pause_writing(self) -> None:
        self._room.clear()
        if self._client.transport is not None:
            self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        self._room.set()
        if self._client.transport is not None:
            self._client.transport.resume_reading()

    async def read_on(self) -> None:
        """Read on whenever the client has room again, for ever."""
        while True:
            await self._full.wait()
            self._full.clear()
            await self._client._drain_helper()  # noqa: SLF001  there is no public way to wait for it
            if not self.transport.is_closing():
                self.transport.resume_reading()


class _Parser:
    """The client's end: what a parser of aiohttp's is given is written to the application."""

    def __init__(self, application: asyncio.Transport, over: asyncio.Event) -> None:
        self._application, self._over = application, over

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        if self._application.is_closing():
            self._over.set()
        else:
            self._application.write(data)
        return False, b""

    def feed_eof(self) -> None:
        self._over.set()


def ask(headers: CIMultiDict[str]) -> None:
    """Ask the application for the upgrade that the client wants; these headers are of one hop."""
    headers["Connection"], headers["Upgrade"] = "Upgrade", PROTOCOL


async def tunnel(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Pass bytes on in both directions until one side closes.

    Raises:
        UpstreamError: the application went away at once.
    """
    client, application = request.protocol, reply.connection.transport
    if application is None or request.transport is None:
        raise UpstreamError(502, "the application closed the connection that it upgraded")
    over = asyncio.Event()
    end = _End(application, client, over)
    try:
        request.transport.write(_head(reply) + reply.body.take())
        application.set_protocol(end)
        application.resume_reading()
        client.set_parser(cast("Any", _Parser(application, over)))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(end.read_on())
            await over.wait()
            reading.cancel()
    except* ConnectionError:
        pass  # the client went away while it was waited for: it is over
    finally:
        application.close()
        if request.transport is not None:
            request.transport.close()
    return Tunnelled()


def _head(reply: Reply) -> bytes:
    """The application's 101 as it goes to the client."""
    headers = end_to_end(reply.headers)
    headers["Connection"], headers["Upgrade"] = "Upgrade", reply.headers.get("Upgrade", PROTOCOL)
    return answer_head(101, reply.reason, headers)
