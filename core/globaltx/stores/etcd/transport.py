"""Calls to the members of an etcd: the next one when one fails, a token, and a bound on everything.

A call is gRPC over HTTP/2, written for it (``http2``, ``protobuf``): beside etcd's JSON gateway it costs etcd
half, and us too; a general client takes 15 MiB more of memory. docs/stores.md has the figures.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from globaltx.deadlines import Within
from globaltx.http2_frames import PeerError
from globaltx.stores.etcd import headers, messages
from globaltx.stores.etcd.asking import Asking
from globaltx.stores.etcd.connection import connect
from globaltx.stores.etcd.errors import (
    OK,
    DeniedError,
    EtcdError,
    EtcdRefusedError,
    EtcdUnavailableError,
    TokenRefusedError,
    error_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from globaltx.stores.etcd.access import EtcdAccess
    from globaltx.stores.etcd.calls import Call
    from globaltx.stores.etcd.connection import Connection
    from globaltx.stores.etcd.errors import Status

T = TypeVar("T")

CONNECT_TIMEOUT = 2.0
BYTES_MAX = 64 << 20
"""What one answer, or one message of a watch, may hold."""
SILENT_SECONDS = 15.0
"""A connection on which nothing came for so long is not used again: what is between may have forgotten it."""
_PORTS = {"http": 80, "https": 443}
_NO_AUTHENTICATION = "authentication is not enabled"


class Transport:
    """Calls to the members of one etcd, over one connection.

    One member is talked to until it fails; the next call goes to the next one.
    """

    def __init__(
        self,
        access: EtcdAccess,
        timeout: float,
        at_once: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._access = access
        self._places = [urlsplit(each) for each in access.endpoints]
        self._timeout = timeout
        self._slots = asyncio.Semaphore(at_once)
        self._member = int(chance() * len(access.endpoints))
        self._token: str | None = None
        self._entering = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._connections: dict[int, Connection] = {}
        self._open: set[Connection] = set()

    async def close(self) -> None:
        """Close all connections; a later call opens a new one."""
        closing = [each.closed for each in self._open]
        for each in tuple(self._open):
            each.abort()
        self._connections.clear()
        if closing:
            await asyncio.wait(closing)

    async def request(self, method: str, message: bytes) -> bytes:
        """One call that has one answer.

        A member that cannot be connected to has not got the call, so the next one is asked at
        once; any other fault is told to the caller, who alone knows whether it may be repeated.
        """
        member, began = self._member, asyncio.get_running_loop().time()
        try:
            with Within(self._timeout):
                async with self._slots:
                    return await self._authorized(method, lambda: self._whole(method, message))
        except TimeoutError as error:
            raise self._late(method, member, began) from error

    def at_once(
        self, method: str, message: bytes, over: Callable[[bytes | EtcdError], None]
    ) -> Asking | None:
        """Begin a call over the connection that is there; None where there is none, or no token, or a fault.

        ``over`` is called once, with the answer or the error; not if it is cancelled. What is refused may be
        so for its token, which `request` makes anew. It takes no slot: who calls this makes one at a time.
        """
        member = self._member
        try:
            connection = self._present(member)
            if connection is None or (self._token is None and self._user(method) is not None):
                return None
            call = connection.begin(self._headers(member, method), message, BYTES_MAX)
        except (OSError, PeerError, ValueError, EtcdError):
            return None
        return Asking(
            connection, call, self._timeout, lambda asked: over(self._answer(asked, member, method))
        )

    def _answer(self, asked: Asking, member: int, method: str) -> bytes | EtcdError:
        if asked.late:
            return self._late(method, member, asked.began)
        if asked.failure is not None:
            return self._lost(member, method, asked.failure)
        return self._whole_answer(asked.call, member, method)

    async def messages(
        self, method: str, message: bytes, silence: float, read: Callable[[bytes], T]
    ) -> AsyncGenerator[T, None]:
        """A lasting answer's messages, read; ``silence`` bounds the wait for each, in seconds.

        It ends by itself when the member ends it, or after so long a silence: a member that has
        stopped without a word is not to be told from one that has nothing to say. No slot is taken.
        """
        at_first, began = self._member, asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout):
                connection, member, call, first = await self._authorized(
                    method, lambda: self._lasting(method, message, read)
                )
        except TimeoutError as error:
            raise self._late(method, at_first, began) from error
        try:
            yield first
            while True:
                async with asyncio.timeout(silence):
                    came = await connection.next(call)
                if came is None:
                    break
                yield read(came)
        except TimeoutError:
            return
        except (OSError, PeerError) as error:
            raise self._lost(member, method, error) from error
        finally:
            connection.leave(call)
        if call.status is not None and call.status.code != OK:
            raise self._refused(call.status, member, method)

    async def _lasting(
        self, method: str, message: bytes, read: Callable[[bytes], T]
    ) -> tuple[Connection, int, Call, T]:
        """A call whose first message has come, that message, and the member that it leads to."""
        connection, member = await self._reached(method)
        with ExitStack() as stack:
            try:
                call = connection.begin(self._headers(member, method), message, BYTES_MAX, lasts=True)
                stack.callback(connection.leave, call)
                came = await connection.next(call)
            except (OSError, PeerError) as error:
                raise self._lost(member, method, error) from error
            if came is None:
                raise self._refused(call.status, member, method)
            first = read(came)
            stack.pop_all()
        return connection, member, call, first

    async def _whole(self, method: str, message: bytes) -> bytes:
        connection, member = await self._reached(method)
        try:
            call = await connection.ask(self._headers(member, method), message, BYTES_MAX)
        except (OSError, PeerError) as error:
            raise self._lost(member, method, error) from error
        answer = self._whole_answer(call, member, method)
        if isinstance(answer, EtcdError):
            raise answer
        return answer

    def _whole_answer(self, call: Call, member: int, method: str) -> bytes | EtcdError:
        if call.status is None or call.status.code != OK or not call.messages:
            return self._refused(call.status, member, method)
        return call.messages[0]

    def _refused(self, status: Status | None, member: int, method: str) -> EtcdError:
        what = self._what(member, method)
        if status is None or status.code == OK:
            return EtcdUnavailableError(f"{what}: the call has ended without an answer")
        refused = error_of(status, what)
        if isinstance(refused, EtcdUnavailableError):
            self._next(member)
        return refused

    def _lost(self, member: int, method: str, error: Exception) -> EtcdUnavailableError:
        self._next(member)
        return EtcdUnavailableError(f"{self._what(member, method)}: {_said(error)}")

    async def _authorized(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call, and once more with a new token if the old one is refused."""
        token = await self._enter_etcd()
        try:
            return await call()
        except (TokenRefusedError, DeniedError) as error:
            none_needed = token == ""  # so etcd said, and may have been locked up since
            if self._user(method) is None or (isinstance(error, DeniedError) and not none_needed):
                raise
            if self._token == token:
                self._token = None
            await self._enter_etcd()
            return await call()

    async def _enter_etcd(self) -> str | None:
        """The token that we go by; asked for once, however many wait for it."""
        if self._token is not None or self._user(messages.AUTHENTICATE) is None:
            return self._token
        async with self._entering:
            if self._token is None:
                self._token = await self._authenticate()
            return self._token

    def _user(self, method: str) -> tuple[str, str] | None:
        try:
            return self._access.user()
        except OSError as error:
            message = f"{method}: the credentials of etcd cannot be read: {error}"
            raise EtcdUnavailableError(message) from error

    async def _authenticate(self) -> str:
        user = self._user(messages.AUTHENTICATE) or ("", "")
        try:
            token = messages.read_token(
                await self._whole(messages.AUTHENTICATE, messages.authenticate(*user))
            )
        except EtcdRefusedError as error:
            if _NO_AUTHENTICATION in str(error):
                return ""
            raise
        if not token.isascii() or not token.isprintable():
            message = "the token of etcd cannot be sent in a header"
            raise EtcdUnavailableError(message)
        return token

    def _late(self, method: str, member: int, began: float) -> EtcdUnavailableError:
        """There was no answer in time since then, of the member that was asked first."""
        self._next(member)
        connection = self._connections.get(member)
        if connection is not None and connection.heard_at < began:
            connection.abort()  # all that time it said nothing to anybody
        # An etcd that lost its data does not refuse an old token: it waits until its history is as long.
        self._token = None
        where = self._access.endpoints[member]
        return EtcdUnavailableError(f"{method}: no answer within {self._timeout:g} s from {where}")

    async def _reached(self, method: str) -> tuple[Connection, int]:
        """A connection to the first member that can be connected to, and which that is."""
        for left in reversed(range(len(self._access.endpoints))):
            member = self._member
            try:
                return await self._connection(member), member
            except OSError as error:
                self._next(member)
                if not left:
                    message = f"{method}: no member of etcd can be reached: {_said(error)}"
                    raise EtcdUnavailableError(message) from error
        raise AssertionError  # there is at least one endpoint

    async def _connection(self, member: int) -> Connection:
        """The one that is there, else a new one; with the certificates as they are now.

        Raises:
            OSError: there is none to be had.
        """
        if (found := self._present(member)) is not None:
            return found
        async with self._connecting:
            if (found := self._present(member)) is not None:
                return found
            if member != self._member:
                message = "others have gone on from it to the next member"
                raise ConnectionError(message)
            if (old := self._connections.pop(member, None)) is not None:
                old.retire()
            place, context = self._places[member], self._access.context()
            made = await connect(
                place.hostname or "", place.port or _PORTS[place.scheme], context, CONNECT_TIMEOUT
            )
            self._connections[member] = made
            self._open.add(made)
            made.closed.add_done_callback(lambda _: self._open.discard(made))
            return made

    def _present(self, member: int) -> Connection | None:
        found = self._connections.get(member)
        if found is None or not found.usable or found.context is not self._access.context():
            return None
        silent = asyncio.get_running_loop().time() - found.heard_at
        return found if silent < SILENT_SECONDS else None

    def _headers(self, member: int, method: str) -> bytes:
        place = self._places[member]
        authority = place.netloc.rpartition("@")[2]
        return headers.call(method, authority, self._token or "", tls=place.scheme == "https")

    def _what(self, member: int, method: str) -> str:
        return f"{self._access.endpoints[member]} {method}"

    def _next(self, failed: int) -> None:
        """Go on to the next member, unless somebody has gone on already."""
        if self._member == failed:
            self._member = (failed + 1) % len(self._access.endpoints)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
