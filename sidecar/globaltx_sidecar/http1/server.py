"""The connections of all clients: lets them in, looks after them, ends them."""

from __future__ import annotations

import asyncio
import socket
from operator import attrgetter
from typing import TYPE_CHECKING

from globaltx_sidecar.http1.inbound import Inbound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from multidict import CIMultiDict

    from globaltx_sidecar.http1.exchange import Request
    from globaltx_sidecar.http1.requests import MalformedError

LOOK_SECONDS = 1.0
"""How often what takes too long is looked for."""
CONNECTIONS_MAX = 8192
"""How many connections there may be; one more takes the place of those that have been idle longest."""
_LET_GO = 8
"""Of the idle ones an eighth goes at a time, so that they are seldom looked for."""
_CLOSE_SECONDS = 1.0
"""How long the last bytes of answers may take to be sent, at the end."""


class Http1Server:
    """Implements `inbound.Owner`; `enter` hands it connections.

    ``handle`` answers a request, ``pass_on`` may do so without a task (`inbound.Owner`); ``malformed`` gives
    headers and body of the answer to what is none.
    """

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[None]],
        pass_on: Callable[[Request], bool],
        malformed: Callable[[MalformedError], tuple[CIMultiDict[str], bytes]],
        idle_seconds: float,
    ) -> None:
        self.handle = handle
        self.pass_on = pass_on
        self.malformed = malformed
        self.idle_seconds = idle_seconds
        self.leaving = False
        self.connections: set[Inbound] = set()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._none_left = asyncio.Event()

    def enter(self, transport: asyncio.Transport, begun: bytes) -> None:
        """Take a connection, of which this was read already; where there are too many it is closed."""
        if not self._has_room():
            transport.abort()
            return
        connection = Inbound(self)
        transport.set_protocol(connection)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.connection_made(transport)
        connection.data_received(begun)

    def leave(self) -> None:
        """Take no more requests; a connection is closed when it has none under way."""
        self.leaving = True
        for each in tuple(self.connections):
            each.leave()

    async def close(self) -> None:
        """End all connections; what was answered is sent, if it goes at once."""
        tasks = [*self._tasks, *(each.task for each in self.connections if each.task is not None)]
        for task in tasks:
            task.cancel()
        for each in tuple(self.connections):
            if not each.idle and (each.task is None or each.task.done()):
                each.abort()  # its request has no task
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self.connections:
                    self._none_left.clear()
                    await self._none_left.wait()
        except TimeoutError:
            for each in tuple(self.connections):
                each.abort()
        if self._timer is not None:
            self._timer.cancel()

    def opened(self, connection: Inbound) -> None:
        """See `inbound.Owner`."""
        self.connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def closed(self, connection: Inbound) -> None:
        """See `inbound.Owner`."""
        self.connections.discard(connection)
        if not self.connections:
            self._none_left.set()

    def survives(self, task: asyncio.Task[None]) -> None:
        """See `inbound.Owner`."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _has_room(self) -> bool:
        if len(self.connections) < CONNECTIONS_MAX:
            return True
        idle = sorted((each for each in self.connections if each.idle), key=attrgetter("active_at"))
        for each in idle[: -(-len(idle) // _LET_GO)]:
            each.abort()
            self.closed(each)
        return bool(idle)

    def _look(self) -> None:
        for each in tuple(self.connections):
            each.look()
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look) if self.connections else None
