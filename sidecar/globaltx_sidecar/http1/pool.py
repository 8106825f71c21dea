"""The connections to the application that are kept, and how a request gets one.

A connection that the application closed just as a request was written to it is no failure of the request:
it is sent again by a new one, where that cannot do anything twice: nothing of an answer came, the method is
idempotent, and the request is still at hand (https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_sidecar.http1.answers import CLOSED
from globaltx_sidecar.http1.connection import Connection
from globaltx_sidecar.http1.heads import chunk, last_chunk
from globaltx_sidecar.http1.lost import LostError, SilentError

if TYPE_CHECKING:
    from globaltx_sidecar.http1.body import Body
    from globaltx_sidecar.http1.call import Call
    from globaltx_sidecar.http1.connection import Passage, Reply

_LOOK_SECONDS = 1.0


class Pool:
    """Connections to one port; `close` ends them."""

    def __init__(self, idle_seconds: float, connect_seconds: float, silent_seconds: float) -> None:
        self._idle_seconds, self._connect_seconds = idle_seconds, connect_seconds
        self._silent_seconds = silent_seconds
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._look: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, call: Call, address: str) -> Reply:
        """Send a request and return its answer once its head is there; ``address`` is ``<host>:<port>``.

        Raises:
            LostError: there is no answer.
            OSError: there is no connection.
        """
        kept = self._kept()
        if kept is not None:
            try:
                return await self._ask(kept, call)
            except LostError as error:
                if not (error.untouched and call.repeatable):
                    raise
        return await self._ask(await self._connect(address), call)

    def pass_on(self, method: str, data: bytes, passage: Passage) -> bool:
        """Send a request as it came, if there is a connection; nobody waits for its answer."""
        kept = self._kept()
        if kept is None:
            return False
        kept.pass_on(method, data, passage)
        return True

    async def close(self) -> None:
        """Close all connections, at once."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
        for each in tuple(self._open):
            each.abort()
        pumps = tuple(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _ask(self, connection: Connection, call: Call) -> Reply:
        answer = connection.ask(
            call.method,
            call.head + call.body,
            call.announce,
            whole=call.streamed is None,
            upgrade=call.upgrade,
        )
        if call.streamed is not None:
            pump = asyncio.create_task(_pump(connection, call, call.streamed))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
            connection.watch(pump.cancel)
        return await awaited(connection, answer)

    def _kept(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.active_at > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, address: str) -> Connection:
        if self._closed:
            raise LostError(CLOSED)
        loop = asyncio.get_running_loop()
        host, _, port = address.rpartition(":")
        async with asyncio.timeout(self._connect_seconds):
            _, connection = await loop.create_connection(
                lambda: Connection(self._keep, self._lost), host, int(port)
            )
        self._open.add(connection)
        if self._look is None:
            self._look = loop.call_later(_LOOK_SECONDS, self._look_after)
        return connection

    def _keep(self, connection: Connection) -> None:
        connection.watch(None)
        if self._closed:
            connection.abort()
        else:
            self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)

    def _look_after(self) -> None:
        """Close what is idle, and what is silent, for too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        idle = {each for each in self._idle if now - each.active_at >= self._idle_seconds or not each.usable}
        self._idle = [each for each in self._idle if each not in idle]
        for each in idle:
            each.abort()
        for each in tuple(self._open):
            if each.waits_for_application and now - each.active_at >= self._silent_seconds:
                each.fail(SilentError("it said nothing for too long"))
        self._look = loop.call_later(_LOOK_SECONDS, self._look_after) if self._open else None


async def awaited(connection: Connection, answer: asyncio.Future[Reply]) -> Reply:
    """Wait for an answer; a connection whose answer nobody waits for any more is of no use.

    Who is cancelled just when the answer has come gives up what is still to come of that: the connection may
    have the request of somebody else by then.
    """
    try:
        return await answer
    except BaseException:
        if answer.done() and not answer.cancelled() and answer.exception() is None:
            answer.result().close()
        else:
            connection.abort()
        raise


async def _pump(connection: Connection, call: Call, body: Body) -> None:
    """Send a body piece by piece; whatever goes wrong is told to who waits for the answer."""
    try:
        async for piece in body.pieces():
            if piece:
                await connection.write(chunk(piece) if call.chunked else piece)
        connection.finish(last_chunk(call.trailers(body.trailers)) if call.chunked else b"")
    except Exception as error:  # noqa: BLE001  it is handed to the one request that it belongs to
        broken = LostError(f"the request's body broke off: {str(error) or type(error).__name__}")
        broken.__cause__ = error
        connection.fail(broken)
