"""Upgraded connections (WebSocket): after the application's 101, bytes go both ways unread.

Neither side is read on while the other one does not take what has come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_sidecar.http.headers import end_to_end
from globaltx_sidecar.http.upstream import UpstreamError

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.connection import Reply
    from globaltx_sidecar.http1.exchange import Request

PROTOCOL = "websocket"
"""What an upgrade may ask for."""


class _End(asyncio.Protocol):
    """One end: what it sends goes to the other one, as fast as that takes it."""

    def __init__(self, other: asyncio.Transport, over: asyncio.Event) -> None:
        self._other, self._over = other, over

    def data_received(self, data: bytes) -> None:
        if self._other.is_closing():
            self._over.set()
        else:
            self._other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._over.set()

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()


def ask(headers: CIMultiDict[str]) -> None:
    """Ask the application for the upgrade that the client wants; these headers are of one hop."""
    headers["Connection"], headers["Upgrade"] = "Upgrade", PROTOCOL


async def tunnel(request: Request, reply: Reply) -> None:
    """Pass bytes on in both directions until one side closes.

    Raises:
        UpstreamError: the application went away at once.
        GoneError: the client did.
    """
    application = reply.connection.transport
    if application is None:
        raise UpstreamError(502, "the application closed the connection that it upgraded")
    try:
        client, early = request.switch(reply.status, reply.reason, _headers(reply), reply.body.take())
    except BaseException:
        application.abort()
        raise
    over = asyncio.Event()
    try:
        application.set_protocol(_End(client, over))
        client.set_protocol(_End(application, over))
        if not application.is_closing():
            application.write(early)
            if request.waits_for_room:  # the application is read on when there is some, and not before
                application.pause_reading()  # taking much that came with its 101 has let it go on
            else:
                application.resume_reading()
            await over.wait()
    finally:
        application.close()
        client.close()


def _headers(reply: Reply) -> CIMultiDict[str]:
    """The headers of the application's 101 as they go to the client."""
    headers = end_to_end(reply.headers)
    headers["Connection"], headers["Upgrade"] = "Upgrade", reply.headers.get("Upgrade", PROTOCOL)
    return headers
