"""The connections over which the sidecar itself makes calls of gRPC: kept, and shared by calls at a time.

One is used until the application closes it or asks for another (GOAWAY), until it was idle for a while, or
until a call on it was not answered in time, because a connection that hangs must hold up no other call.
There are several only while more calls are under way than the application takes on one.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from globaltx_sidecar.http.upstream import UpstreamError, told
from globaltx_sidecar.http2.calling import Call, NotTakenError, head_of
from globaltx_sidecar.http2.line import STREAMS_MAX, Line

if TYPE_CHECKING:
    from multidict import CIMultiDict

    from globaltx_sidecar.http1.heads import Pairs
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

        Raises:
            UpstreamError: there is no answer within the time.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._call(address, head_of(address, target, headers, seconds), message)
        except TimeoutError as error:
            said = f"the application at {address} did not answer within {seconds:g} s"
            raise UpstreamError(504, said) from error
        except OSError as error:
            raise UpstreamError(502, f"the application at {address} gave no answer: {told(error)}") from error

    def close(self) -> None:
        """Close all connections at once."""
        for line in tuple(self._open):
            line.close()

    async def _call(self, address: str, head: Pairs, message: bytes) -> Answer:
        for _ in range(_MORE_TRIES):
            with suppress(NotTakenError):
                return await self._line(address).ask(Call(head, message))
        return await self._line(address).ask(Call(head, message))

    def _line(self, address: str) -> Line:
        """A connection that has room for one more call."""
        here = [each for each in self._open if each.address == address]
        line = next((each for each in here if each.has_room), None)
        if line is None:
            line = Line(address, min((each.most for each in here), default=STREAMS_MAX), self._open.remove)
            self._open.append(line)
        return line
