"""The connections over which the sidecar itself makes calls of gRPC: kept, and shared by calls at a time.

One is used until the application closes it or asks for another (GOAWAY), until it was idle for a while, or
until a call on it was not answered in time, because a connection that hangs must hold up no other call.
There are several only while more calls are under way than the application takes on one.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from globaltx_sidecar.http2.calling import Call, NotTakenError, head_of
from globaltx_sidecar.http2.line import STREAMS_MAX, Line

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http2.calling import Answer

_MORE_TRIES = 2
"""How often a call that the application has not seen is made once more."""


class Lines:
    """The connections to an application; `close` ends them."""

    def __init__(self) -> None:
        self._open: list[Line] = []

    async def call(
        self, address: str, target: str, headers: CIMultiDict[str], message: bytes, seconds: float
    ) -> Answer:
        """Make a call and return its answer; ``message`` has its prefix.

        The application is told how many ``seconds`` there are; who calls sees to it.

        Raises:
            ConnectionError: there is no answer.
        """
        head = head_of(address, target, headers, seconds)
        for _ in range(_MORE_TRIES):
            with suppress(NotTakenError):
                return await self._line(address).ask(Call(head, message))
        return await self._line(address).ask(Call(head, message))

    def close(self) -> None:
        """Close all connections at once."""
        for line in tuple(self._open):
            line.close()

    def _line(self, address: str) -> Line:
        """A connection that has room for one more call."""
        here = [each for each in self._open if each.address == address]
        line = next((each for each in here if each.has_room), None)
        if line is None:
            line = Line(address, min((each.most for each in here), default=STREAMS_MAX), self._open.remove)
            self._open.append(line)
        return line
