"""HTTP to the API server: one session, typed errors, and a bound on everything.

Every request has a timeout, at most ``connections`` of them are under way at once, no answer
is held beyond `BYTES_MAX` and no line of a watch beyond `LINE_BYTES_MAX`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import aiohttp
from yarl import URL

from globaltx import __version__
from globaltx.stores.kubernetes import answers
from globaltx.stores.kubernetes.clock import ServerClock
from globaltx.stores.kubernetes.errors import UnavailableError, error_of
from globaltx.stores.lines import Lines, LineTooLongError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from globaltx.stores.kubernetes.access import Access

Json = dict[str, Any]

CONNECT_TIMEOUT = 5.0
BYTES_MAX = 64 << 20
"""What one answer may hold; a page of the largest objects that etcd takes is smaller."""
LINE_BYTES_MAX = 4 << 20
"""What one watch event may hold; etcd takes objects of 1.5 MiB."""
_TURNS = 100


class Transport:
    """Requests to one API server, each with our credentials as they are at that moment."""

    def __init__(self, access: Access, timeout: float, connections: int) -> None:
        self.access = access
        self.clock = ServerClock()
        self._timeout = timeout
        self._slots = asyncio.Semaphore(connections)
        self._opened: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._opened = self._opened, None
        if session is not None:
            await session.close()
        await self._hang_up()

    async def _hang_up(self) -> None:
        """End the connections that the session has let go while they still said their farewell.

        A request that was cancelled leaves one, for as long as the peer takes to answer.
        """
        left = [each for each in self._sockets if each.fileno() >= 0]
        for each in left:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_TURNS):  # the loop sees the end of each in its next turns
            if all(each.fileno() < 0 for each in left):
                return
            await asyncio.sleep(0)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request whose answer is a JSON object; empty params are left out."""
        what = f"{method} {path}"
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        async with self._in_time(what), self._slots:
            exchange = self._exchange(method, path, params=params or {}, data=data, content_type=content_type)
            async with exchange as response:
                return _object(await answers.whole(response, BYTES_MAX), what)

    async def lines(
        self,
        path: str,
        params: Mapping[str, str],
        silence: float,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Json, None]:
        """A lasting answer's lines, each a JSON object; ``silence`` bounds the wait for bytes, in seconds.

        ``opened`` is called once the server has accepted.

        No slot is taken: such an answer lasts, and who asks for it bounds their number.
        """
        what = f"WATCH {path}"
        lines = Lines(LINE_BYTES_MAX)
        async with AsyncExitStack() as stack:
            async with self._in_time(what):
                exchange = self._exchange("GET", path, params=params, silence=silence)
                response = await stack.enter_async_context(exchange)
            stack.callback(answers.abort, response)
            if opened is not None:
                opened()
            async for piece in response.content.iter_any():
                for line in lines.feed(piece):
                    yield _object(line, what)

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            message = f"{what}: no answer within {self._timeout:g} s"
            raise UnavailableError(message) from error

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        silence: float | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request and its successful answer; everything else is raised as a typed error."""
        query = {key: value for key, value in params.items() if value}
        url = URL(self.access.server + path, encoded=True).update_query(query)
        try:
            async with self._session().request(
                method,
                url,
                data=data,
                headers=self._headers(content_type),
                ssl=self.access.context() or True,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=silence),
                allow_redirects=False,
            ) as response:
                self.clock.heard(response.headers.get("Date"))
                if not response.ok or response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise await _refusal(response, f"{method} {path}")
                yield response
        except (aiohttp.ClientError, LineTooLongError, OSError) as error:
            message = f"{method} {path}: {type(error).__name__} {error}"
            raise UnavailableError(message) from error

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(limit=0, socket_factory=self._socket)  # the slots are the limit
            self._opened = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._opened

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = _socket(address)
        self._sockets.add(made)
        return made

    def _headers(self, content_type: str) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": content_type,
            "User-Agent": f"globaltx/{__version__}",
        }
        token = self.access.token()
        return headers | {"Authorization": f"Bearer {token}"} if token else headers


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within half a minute that its peer has gone without a word."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return made


async def _refusal(response: aiohttp.ClientResponse, what: str) -> Exception:
    return error_of(
        response.status,
        await answers.whole(response, BYTES_MAX),
        what,
        response.headers.get("Retry-After", ""),
    )


def _object(body: bytes, what: str) -> Json:
    try:
        found = json.loads(body)
    except ValueError as error:
        message = f"{what}: the answer is not JSON: {error}"
        raise UnavailableError(message) from error
    if not isinstance(found, dict):
        message = f"{what}: the answer is no JSON object"
        raise UnavailableError(message)
    return found
