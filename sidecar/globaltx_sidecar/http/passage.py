"""Requests on which nothing is to be done: they go on as they came, and so do their answers.

No task waits for one, and no header is taken apart. What comes otherwise than whole and plain, or does not
come, is handled by a task from there on, as it is for all other requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx_sidecar.http.asked import Asked, outbound
from globaltx_sidecar.http.headers import SAYS_SOMETHING
from globaltx_sidecar.http.passing_back import announcer, pass_back
from globaltx_sidecar.http1.requests import is_plain

if TYPE_CHECKING:
    import asyncio

    from globaltx_sidecar.http.proxy import Proxy
    from globaltx_sidecar.http1.answers import Head
    from globaltx_sidecar.http1.connection import Connection, Reply
    from globaltx_sidecar.http1.exchange import Request


def is_nobodys(request: Request, raw: bytes) -> bool:
    """Whether a request that no route names can go on in the bytes that it came in."""
    return is_plain(request.head, raw) and SAYS_SOMETHING.isdisjoint(request.head.names.folded)


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
        return self._request.lasting

    def answered(self, data: bytes) -> None:
        """All of the answer is here."""
        self._proxy.under_way.leave()
        self._request.give_on(data)

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
            asked = Asked(request, request.target, outbound(request))
            reply = await upstream.send(request, asked.target, asked.headers)
        await pass_back(upstream, request, reply)
