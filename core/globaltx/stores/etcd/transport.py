"""HTTP to the members of an etcd: the next one when one fails, a token, and a bound on everything.

The gateway speaks JSON over HTTP, so nothing is needed beyond what the sidecar has loaded anyway.
Measured beside a gRPC client: 15 MiB less memory, the same latency for one caller, half the
throughput at sixteen; calls made at the same time share a request (`globaltx.stores.etcd.batches`).
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from globaltx.stores import answers
from globaltx.stores.etcd.errors import (
    EtcdRefusedError,
    EtcdUnavailableError,
    TokenRefusedError,
    error_of,
    told_error,
)
from globaltx.stores.lines import Lines, LineTooLongError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from globaltx.stores.etcd.access import EtcdAccess

Json = dict[str, Any]

CONNECT_TIMEOUT = 2.0
BYTES_MAX = 64 << 20
"""What one answer, or one message of a watch, may hold."""
_NO_AUTHENTICATION = "authentication is not enabled"


class Transport:
    """Requests to the members of one etcd.

    One member is talked to until it fails; the next request goes to the next one.
    """

    def __init__(
        self,
        access: EtcdAccess,
        timeout: float,
        connections: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._access = access
        self._timeout = timeout
        self._slots = asyncio.Semaphore(connections)
        self._member = int(chance() * len(access.endpoints))
        self._token: str | None = None
        self._entering = asyncio.Lock()
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        session, self._opened = self._opened, None
        if session is not None:
            await session.close()

    async def request(self, path: str, body: Json) -> Json:
        """One request whose answer is a JSON object.

        A member that cannot be connected to has not got the request, so the next one is asked at
        once; any other fault is told to the caller, who alone knows whether it may be repeated.
        """
        async with self._in_time(path), self._slots:
            told: Json = await self._authorized(path, lambda: self._whole(path, body))
            return told

    async def messages(
        self, path: str, body: Json, silence: float, opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Json, None]:
        """A lasting answer's messages; ``silence`` bounds the wait for each, in seconds.

        It ends by itself when the member ends it, or after so long a silence: a member that has
        stopped without a word is not to be told from one that has nothing to say. No slot is taken.
        """
        lines = Lines(BYTES_MAX)
        async with AsyncExitStack() as stack:
            async with self._in_time(path):
                response = await self._authorized(path, lambda: self._enter(stack, path, body, silence))
            stack.callback(answers.abort, response)
            if opened is not None:
                opened()
            async for piece in _pieces(response):
                for line in lines.feed(piece):
                    told = _object(line, path)
                    if "error" in told:
                        raise told_error(told["error"], path)
                    yield told["result"]

    async def _enter(
        self, stack: AsyncExitStack, path: str, body: Json, silence: float
    ) -> aiohttp.ClientResponse:
        return await stack.enter_async_context(self._reached(path, body, silence))

    async def _whole(self, path: str, body: Json) -> Json:
        async with self._reached(path, body) as response:
            return _object(await answers.whole(response, BYTES_MAX), path)

    async def _authorized(self, path: str, call: Callable[[], Any]) -> Any:
        """Make the call, and once more with a new token if the old one is refused."""
        token = await self._enter_etcd()
        try:
            return await call()
        except TokenRefusedError:
            if token is None and self._user(path) is None:
                raise
            if self._token == token:
                self._token = None
            await self._enter_etcd()
            return await call()

    async def _enter_etcd(self) -> str | None:
        """The token that we go by; asked for once, however many wait for it."""
        if self._token is not None or self._user("authenticate") is None:
            return self._token
        async with self._entering:
            if self._token is None:
                self._token = await self._authenticate()
            return self._token

    def _user(self, path: str) -> tuple[str, str] | None:
        try:
            return self._access.user()
        except OSError as error:
            message = f"{path}: the credentials of etcd cannot be read: {error}"
            raise EtcdUnavailableError(message) from error

    async def _authenticate(self) -> str:
        name, password = self._user("authenticate") or ("", "")
        try:
            told = await self._whole("/v3/auth/authenticate", {"name": name, "password": password})
        except EtcdRefusedError as error:
            if _NO_AUTHENTICATION in str(error):
                return ""
            raise
        return str(told.get("token", ""))

    @asynccontextmanager
    async def _in_time(self, path: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            message = f"{path}: no answer within {self._timeout:g} s from {self._endpoint()}"
            self._next(self._member)
            # An etcd that lost its data does not refuse an old token: it waits until its history is as long.
            self._token = None
            raise EtcdUnavailableError(message) from error

    @asynccontextmanager
    async def _reached(
        self, path: str, body: Json, silence: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The successful answer of the first member that can be connected to."""
        async with AsyncExitStack() as stack:
            for left in reversed(range(len(self._access.endpoints))):
                member = self._member
                try:
                    response = await stack.enter_async_context(self._exchange(path, body, silence))
                except aiohttp.ClientConnectorError as error:
                    self._next(member)
                    if not left:
                        message = f"{path}: no member of etcd can be reached: {error}"
                        raise EtcdUnavailableError(message) from error
                except EtcdUnavailableError:
                    self._next(member)
                    raise
                else:
                    break
            yield response

    @asynccontextmanager
    async def _exchange(
        self, path: str, body: Json, silence: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        what = f"{self._endpoint()}{path}"
        try:
            async with self._session().post(
                what,
                data=json.dumps(body, separators=(",", ":")).encode(),
                headers=self._headers(),
                ssl=self._access.context() or True,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=silence),
                allow_redirects=False,
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise error_of(response.status, await answers.whole(response, BYTES_MAX), what)
                yield response
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientError, OSError, LineTooLongError) as error:
            message = f"{what}: {str(error) or type(error).__name__}"
            raise EtcdUnavailableError(message) from error

    def _headers(self) -> dict[str, str]:
        # A member that has lost the others ends its streams instead of saying nothing.
        headers = {"Content-Type": "application/json", "Grpc-Metadata-hasleader": "true"}
        return headers | {"Authorization": self._token} if self._token else headers

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(limit=0)  # the slots are the limit
            self._opened = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._opened

    def _endpoint(self) -> str:
        return self._access.endpoints[self._member]

    def _next(self, failed: int) -> None:
        """Go on to the next member, unless somebody has gone on already."""
        if self._member == failed:
            self._member = (failed + 1) % len(self._access.endpoints)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What comes, until the end or too long a silence."""
    try:
        async for piece in response.content.iter_any():
            yield piece
    except (TimeoutError, aiohttp.SocketTimeoutError):
        return


def _object(body: bytes, path: str) -> Json:
    try:
        found = json.loads(body)
    except ValueError as error:
        message = f"{path}: the answer is not JSON: {error}"
        raise EtcdUnavailableError(message) from error
    if not isinstance(found, dict):
        message = f"{path}: the answer is no JSON object"
        raise EtcdUnavailableError(message)
    return found
