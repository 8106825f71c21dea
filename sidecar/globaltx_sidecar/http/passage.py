"""Requests on which nothing is to be done: they go on as they came, and so do their answers.

No task waits for one, and no header is taken apart. What comes otherwise than whole and plain, or does not
come, is handled by a task from there on, as it is for all other requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.http.asked import Asked
from globaltx_sidecar.http.passing_back import announcer, pass_back

if TYPE_CHECKING:
    import asyncio

    from globaltx_sidecar.http.proxy import Proxy
    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.connection import Connection, Reply
    from globaltx_sidecar.http1.exchange import Request


class Passage:
    """Implements `connection.Passage` for one request."""

    __slots__ = ("_answer", "_connection", "_proxy", "_request")

    def __init__(self, proxy: Proxy, request: Request) -> None:
        self._proxy, self._request = proxy, request
        self._connection: Connection
        self._answer: asyncio.Future[Reply]

    @property
    def takes(self) -> bool:
        """See `connection.Passage`; as all that follows."""
        return self._request.takes_raw

    def answered(self, data: bytes) -> None:
        """All of the answer is here."""
        self._proxy.under_way.leave()
        self._request.give_back(data)

    def announce(self, head: Head) -> None:
        """An answer 1xx."""
        announcer(self._request)(head)

    def slowly(self, connection: Connection, answer: asyncio.Future[Reply]) -> None:
        """The answer is still to come, or there is none."""
        self._connection, self._answer = connection, answer
        self._request.go_on(self._go_on)

    async def _go_on(self, request: Request) -> None:
        await self._proxy.answer(request, self._wait(request))

    async def _wait(self, request: Request) -> None:
        upstream = self._proxy.upstream
        reply = await upstream.answer_of(self._connection, self._answer, request.method)
        if reply is None:
            reply = await upstream.send(Asked(request, request.target), announce=announcer(request))
        await pass_back(upstream, request, reply)
