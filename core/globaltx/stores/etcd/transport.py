"""Requests to the members of an etcd: the next one when one fails, a token, and a bound on everything.

The gateway speaks JSON over HTTP, so nothing is needed beyond Python itself. Measured beside a gRPC
client: 15 MiB less memory, the same latency for one caller, half the throughput at sixteen; calls made
at the same time share a request (`globaltx.stores.etcd.batches`).
"""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from globaltx.stores.etcd import wire
from globaltx.stores.etcd.connection import connect
from globaltx.stores.etcd.errors import (
    EtcdError,
    EtcdRefusedError,
    EtcdUnavailableError,
    TokenRefusedError,
    error_of,
    told_error,
)
from globaltx.stores.lines import Lines, LineTooLongError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from globaltx.stores.etcd.access import EtcdAccess
    from globaltx.stores.etcd.connection import Connection

Json = dict[str, Any]
T = TypeVar("T")

CONNECT_TIMEOUT = 2.0
BYTES_MAX = 64 << 20
"""What one answer, or one message of a watch, may hold."""
IDLE_SECONDS = 15.0
"""How long a connection is kept that nobody uses: not as long as what stands between may forget it."""
ERROR_BYTES_MAX = 64 * 1024
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
        self._idle: dict[int, list[Connection]] = {}
        self._open: set[Connection] = set()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        closing = [each.closed for each in self._open]
        for each in tuple(self._open):
            each.abort()
        self._idle.clear()
        if closing:
            await asyncio.wait(closing)

    async def request(self, path: str, body: Json) -> Json:
        """One request whose answer is a JSON object.

        A member that cannot be connected to has not got the request, so the next one is asked at
        once; any other fault is told to the caller, who alone knows whether it may be repeated.
        """
        data = _encoded(body)
        async with self._in_time(path), self._slots:
            return await self._authorized(path, lambda: self._whole(path, data))

    async def messages(
        self, path: str, body: Json, silence: float, opened: Callable[[], None] | None = None
    ) -> AsyncGenerator[Json, None]:
        """A lasting answer's messages; ``silence`` bounds the wait for each, in seconds.

        It ends by itself when the member ends it, or after so long a silence: a member that has
        stopped without a word is not to be told from one that has nothing to say. No slot is taken.
        """
        lines = Lines(BYTES_MAX)
        async with self._in_time(path):
            connection, member = await self._authorized(path, lambda: self._lasting(path, _encoded(body)))
        try:
            if opened is not None:
                opened()
            async for piece in connection.pieces(silence):
                for line in lines.feed(piece):
                    told = _object(line, path)
                    if "error" in told:
                        raise told_error(told["error"], path)
                    yield told["result"]
        except TimeoutError:
            return
        except (OSError, wire.AnswerError, LineTooLongError) as error:
            raise self._lost(member, path, error) from error
        finally:
            connection.abort()

    async def _lasting(self, path: str, body: bytes) -> tuple[Connection, int]:
        """A connection whose answer has begun and lasts, and the member that it leads to."""
        connection, member = await self._reached(path)
        with ExitStack() as stack:
            stack.callback(connection.abort)
            try:
                status = await connection.status(self._request(member, path, body))
                refusal = b"" if status == HTTPStatus.OK else await _all_of(connection)
            except (OSError, wire.AnswerError) as error:
                raise self._lost(member, path, error) from error
            if status != HTTPStatus.OK:
                raise self._refused(status, refusal, member, path)
            stack.pop_all()
        return connection, member

    async def _whole(self, path: str, body: bytes) -> Json:
        connection, member = await self._reached(path)
        try:
            status, answer = await connection.ask(self._request(member, path, body), BYTES_MAX)
        except (OSError, wire.AnswerError) as error:
            raise self._lost(member, path, error) from error
        finally:
            self._release(connection, member)
        if status != HTTPStatus.OK:
            raise self._refused(status, answer, member, path)
        return _object(answer, path)

    def _refused(self, status: int, answer: bytes, member: int, path: str) -> EtcdError:
        refused = error_of(status, answer, self._what(member, path))
        if isinstance(refused, EtcdUnavailableError):
            self._next(member)
        return refused

    def _lost(self, member: int, path: str, error: Exception) -> EtcdUnavailableError:
        self._next(member)
        return EtcdUnavailableError(f"{self._what(member, path)}: {_said(error)}")

    async def _authorized(self, path: str, call: Callable[[], Awaitable[T]]) -> T:
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
            told = await self._whole("/v3/auth/authenticate", _encoded({"name": name, "password": password}))
        except EtcdRefusedError as error:
            if _NO_AUTHENTICATION in str(error):
                return ""
            raise
        token = str(told.get("token", ""))
        if not token.isascii() or not token.isprintable():
            message = "the token of etcd cannot be sent in a header"
            raise EtcdUnavailableError(message)
        return token

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

    async def _reached(self, path: str) -> tuple[Connection, int]:
        """A connection to the first member that can be connected to, and which that is."""
        for left in reversed(range(len(self._access.endpoints))):
            member = self._member
            try:
                return await self._connection(member), member
            except OSError as error:
                self._next(member)
                if not left:
                    message = f"{path}: no member of etcd can be reached: {_said(error)}"
                    raise EtcdUnavailableError(message) from error
        raise AssertionError  # there is at least one endpoint

    async def _connection(self, member: int) -> Connection:
        """One that is idle, else a new one; with the certificates as they are now.

        Raises:
            OSError: there is none to be had.
        """
        context, idle = self._access.context(), self._idle.get(member, [])
        fresh = asyncio.get_running_loop().time() - IDLE_SECONDS
        while idle:
            found = idle.pop()
            if found.usable and found.context is context and found.idle_since > fresh:
                return found
            found.abort()
        parts = urlsplit(self._access.endpoints[member])
        port = parts.port or (80 if context is None else 443)
        made = await connect(parts.hostname or "", port, context, CONNECT_TIMEOUT)
        self._open.add(made)
        made.closed.add_done_callback(lambda _: self._open.discard(made))
        return made

    def _release(self, connection: Connection, member: int) -> None:
        """Keep a connection for the next request; end those that have been idle for long."""
        now = asyncio.get_running_loop().time()
        idle = self._idle.setdefault(member, [])
        while idle and idle[0].idle_since < now - IDLE_SECONDS:
            idle.pop(0).abort()
        if connection.usable:
            connection.idle_since = now
            idle.append(connection)

    def _request(self, member: int, path: str, body: bytes) -> bytes:
        # A member that has lost the others ends its streams instead of saying nothing.
        # By its Accept header etcd tells that a call came through its gateway: without one, who has no token
        # is taken for the user that its own certificate names, because the gateway connects with that.
        headers = {"Grpc-Metadata-hasleader": "true", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        host = urlsplit(self._access.endpoints[member]).netloc.rpartition("@")[2]
        return wire.request(path, host, headers, body)

    def _what(self, member: int, path: str) -> str:
        return f"{self._access.endpoints[member]}{path}"

    def _endpoint(self) -> str:
        return self._access.endpoints[self._member]

    def _next(self, failed: int) -> None:
        """Go on to the next member, unless somebody has gone on already."""
        if self._member == failed:
            self._member = (failed + 1) % len(self._access.endpoints)


async def _all_of(connection: Connection) -> bytes:
    """The body of a short answer, of an error: what is beyond the bound is left out."""
    held = b""
    async for piece in connection.pieces(CONNECT_TIMEOUT):
        held += piece
        if len(held) > ERROR_BYTES_MAX:
            break
    return held


def _encoded(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


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
