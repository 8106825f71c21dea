"""Upgraded connections (WebSocket): after the application's 101, bytes go both ways unread.

aiohttp hands what comes in after an upgrade to a parser of the protocol that follows, on either
side. Ours passes it on as it is, and stops reading where the other side does not take it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from globaltx_sidecar.http.headers import end_to_end
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.base_protocol import BaseProtocol
    from multidict import CIMultiDict

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


class _Half:
    """One direction: what a parser of ``source`` is given is written to ``sink``."""

    def __init__(self, source: BaseProtocol, sink: BaseProtocol, over: asyncio.Event) -> None:
        self._source, self._sink, self._over = source, sink, over
        self._full = asyncio.Event()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        transport = self._sink.transport
        if transport is None or transport.is_closing():
            self._over.set()
        else:
            transport.write(data)
        if self._sink.writing_paused and self._source.transport is not None:
            self._source.transport.pause_reading()
            self._full.set()
        return False, b""

    def feed_eof(self) -> None:
        self._over.set()

    async def resume(self) -> None:
        """Read on whenever the sink has room again, for ever."""
        while True:
            await self._full.wait()
            self._full.clear()
            await self._sink._drain_helper()  # noqa: SLF001  there is no public way to wait for it
            if self._source.transport is not None:
                self._source.transport.resume_reading()


def ask(headers: CIMultiDict[str]) -> None:
    """Ask the application for the upgrade that the client wants; these headers are of one hop."""
    headers["Connection"], headers["Upgrade"] = "Upgrade", PROTOCOL


async def tunnel(request: web.BaseRequest, response: ClientResponse) -> web.StreamResponse:
    """Pass bytes on in both directions until one side closes.

    Raises:
        UpstreamError: the application went away at once.
    """
    connection = response.connection
    client, application = request.protocol, connection.protocol if connection else None
    if application is None or request.transport is None:
        raise UpstreamError(502, "the application closed the connection that it upgraded")
    over = asyncio.Event()
    up, down = _Half(client, application, over), _Half(application, client, over)
    request.transport.write(_head(response))
    try:
        application.set_parser(down, None)
        client.set_parser(cast("Any", up))
        async with asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(half.resume()) for half in (up, down)]
            await over.wait()
            for task in waiting:
                task.cancel()
    except* ConnectionError:
        pass  # one side went away while the other was waited for: it is over
    finally:
        response.close()
        if request.transport is not None:
            request.transport.close()
    return Tunnelled()


def _head(response: ClientResponse) -> bytes:
    """The application's 101 as it goes to the client."""
    headers = end_to_end(response.headers)
    headers["Connection"], headers["Upgrade"] = "Upgrade", response.headers.get("Upgrade", PROTOCOL)
    lines = [f"HTTP/1.1 101 {response.reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
