"""A connection to the application for calls of our own, many at a time; see `lines`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from h2 import events
from h2.errors import ErrorCodes

from globaltx_sidecar.http.upstream import CONNECT_SECONDS, told
from globaltx_sidecar.http2.calling import NotTakenError
from globaltx_sidecar.http2.side import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from h2.events import Event

    from globaltx_sidecar.http2.calling import Answer, Call

STREAMS_MAX = 100
"""How many calls are under way at a time on one connection, if the application does not want fewer."""
CALLS_MAX = 10_000
"""After how many calls another connection is used: of each one something is remembered."""
IDLE_SECONDS = 30.0


class Line:
    """A connection; implements `globaltx_sidecar.http2.side.Bridge` for its one side.

    ``most`` is how many calls the application is believed to take at a time, until it says so; ``over`` is
    told once when the connection is gone.
    """

    def __init__(self, address: str, most: int, over: Callable[[Line], None]) -> None:
        self.address = address
        self.most = most
        self._over = over
        self._side = Side(self, towards_client=False)
        self._calls: dict[int, Call] = {}
        self._waiting: list[Call] = []
        """Calls that have not begun, because the application has not said a word, or does not read."""
        self._ready = self._leaving = self._served = False
        self._made = self._heard = 0
        self._idle: asyncio.TimerHandle | None = None
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    @property
    def has_room(self) -> bool:
        """Whether it may take one more call."""
        open_ = not self._leaving and not self._side.gone and self._made < CALLS_MAX
        return open_ and len(self._calls) + len(self._waiting) < self.most

    async def ask(self, call: Call) -> Answer:
        """Make a call; once one was given up, the connection may hang, and is for those under way alone.

        Raises:
            NotTakenError: the application has not seen it.
            ConnectionError: there is no answer.
        """
        self._made += 1
        self._waiting.append(call)
        self._proceed()
        self._side.write()
        try:
            answer = await call.answered
        except asyncio.CancelledError:
            self._leaving = True
            raise
        else:
            self._served = True
            return answer
        finally:
            self._forget(call)

    def close(self) -> None:
        """Close the connection at once."""
        self._connecting.cancel()
        self._side.abort("it is over")

    async def _connect(self) -> None:
        host, _, port = self.address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: self._side, host, int(port))
        except OSError as error:
            self._fail(ConnectionError(told(error)))
            self._side.abort(told(error))

    # What the side tells.

    def received(self, side: Side, event: Event) -> None:
        """See `side.Bridge`."""
        self._heard += 1
        if isinstance(event, events.RemoteSettingsChanged):
            self._ready = True
            self.most = min(STREAMS_MAX, side.h2.remote_settings.max_concurrent_streams)
            self.flush(side)
            return
        if isinstance(event, events.DataReceived):
            side.acknowledge(event.stream_id, event.flow_controlled_length)
        stream = getattr(event, "stream_id", None)
        if isinstance(event, events.WindowUpdated) and not stream:
            self.flush(side)
        elif (call := self._calls.get(stream or 0)) is not None:
            call.received(event)

    def goes_away(self, side: Side, last_stream: int) -> None:
        """See `side.Bridge`; calls up to that stream go on."""
        del side
        self._leaving = True
        for call in tuple(self._calls.values()):
            if call.stream > last_stream:
                call.fail(NotTakenError("it goes away"))
        self._refuse_waiting()
        self._settle()

    def flush(self, side: Side) -> None:
        """See `side.Bridge`."""
        del side
        for call in tuple(self._calls.values()):
            call.flush()
        self._proceed()

    def write(self) -> None:
        """See `side.Bridge`."""
        self._side.write()

    def lost(self, side: Side, why: str) -> None:
        """See `side.Bridge`."""
        if self._idle is not None:
            self._idle.cancel()
        if side.speaks:
            self._refuse_waiting()
        for call in tuple(self._calls.values()):
            # Closed just as the call was written to it; else nobody knows what became of the call.
            unseen = call.heard == self._heard
            call.fail(NotTakenError(why) if unseen else ConnectionError(why))
        self._fail(ConnectionError(f"it speaks no HTTP/2: {why}"))
        self._over(self)

    # The calls.

    def _proceed(self) -> None:
        """Begin the calls that wait, as many as the application takes."""
        side = self._side
        while self._ready and self._waiting and not (side.paused or side.gone):
            if len(self._calls) >= self.most:
                self._refuse_waiting()
                return
            call = self._waiting.pop(0)
            if not call.answered.done():
                call.heard = self._heard if self._served else -1
                call.begin(side)
                self._calls[call.stream] = call

    def _refuse_waiting(self) -> None:
        for call in self._waiting:
            call.fail(NotTakenError("it takes no more calls"))

    def _fail(self, error: ConnectionError) -> None:
        for call in (*self._waiting, *self._calls.values()):
            call.fail(error)

    def _forget(self, call: Call) -> None:
        """Nobody waits for this call any more."""
        if call in self._waiting:
            self._waiting.remove(call)
        elif self._calls.pop(call.stream, None) is not None and not (call.over or self._side.gone):
            self._side.reset(call.stream, ErrorCodes.CANCEL)
            self._side.write()
        self._settle()

    def _settle(self) -> None:
        """Close the connection if nobody needs it any more, or else when it was idle for a while."""
        if self._calls or self._waiting or self._side.gone:
            return
        if self._leaving:
            self.close()
            return
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not (self._calls or self._waiting):
            self.close()
