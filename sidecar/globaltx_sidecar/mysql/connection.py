"""Carries out what one session wants: two sockets, at most one task, and nothing to decide.

Bytes flow both ways only as fast as the slower side takes them: when one side's send buffer is
full, the other is not read.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from globaltx.stores.base import StoreError
from globaltx_sidecar.commands import (
    Close,
    Decipher,
    Describe,
    HasJoined,
    Join,
    LookUp,
    Now,
    Pause,
    SecureClient,
    SecureDatabase,
    ShowKey,
    ToClient,
    ToDatabase,
)
from globaltx_sidecar.mysql import asking, errors, sockets
from globaltx_sidecar.mysql.handshake import Terms
from globaltx_sidecar.mysql.packets import Command, frame
from globaltx_sidecar.mysql.session import Session
from globaltx_sidecar.mysql.upgrade import FirstPacket, upgrade
from globaltx_sidecar.tls import TlsFilesError, told

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from globaltx_sidecar.commands import Answered
    from globaltx_sidecar.commands import Command as SessionCommand
    from globaltx_sidecar.mysql.server import Environment

_log = logging.getLogger(__name__)

_SILENT: Final = frozenset({Command.STMT_CLOSE, Command.STMT_SEND_LONG_DATA})


class Connection(asyncio.Protocol):
    """A client's connection (this object is its protocol) and the database's behind it."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        datasource = environment.datasource
        terms = Terms(environment.tls.mode, environment.tls.shows_certificate)
        self._session = Session(
            datasource.name,
            datasource.schema,
            environment.lock_wait.total_seconds(),
            terms,
            rows_max=datasource.rows_max,
            guards=datasource.guards_local_writes,
            traces=environment.traces,
            calls=environment.guards,
        )
        self._loop = asyncio.get_running_loop()
        self._client: asyncio.Transport | None = None
        self._database: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._database_is_slow = False
        self._reading = True
        self._upgrading = False
        self._database_socket: asyncio.Transport | None = None
        """What is below TLS."""
        self._early: Callable[[], None] | None = None
        self._draining = False
        self._ended = False

    # The client's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come: reach its database before a word is said."""
        self._client = cast("asyncio.Transport", transport)
        self._client.set_write_buffer_limits(high=self._environment.limits.buffer_bytes)
        self._environment.opened(self)
        if self._environment.stopping:
            self._turn_away(errors.STOPPING.encode_greeting())
            return
        try:
            self._environment.tls.check()
        except TlsFilesError as error:
            self._turn_away(self._cannot_connect(str(error)))
            return
        if self._environment.tls.shows_certificate:
            self._client.set_protocol(FirstPacket(self._client, self))
        self._steer()
        self._deadline = self._loop.call_later(
            self._environment.limits.connect_seconds + self._environment.limits.authentication_seconds,
            self._late,
        )
        self._task = self._loop.create_task(self._connect())

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        commands = self._session.client_data(data)
        if commands is not None:
            self._carry_out(commands)
            return
        if self._database is not None:
            self._database.write(data)
        if data[4] in _SILENT and self._client is not None:
            sockets.acknowledge_now(self._client)

    def pause_writing(self) -> None:
        """The client reads slower than the database writes."""
        if self._database is not None:
            self._database.pause_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        if self._database is not None and not self._database.is_closing():
            self._database.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: the server rolls back what it left open."""
        del exc
        self._end()

    # The database's side (see `_DatabaseSide`)

    def database_made(self, transport: asyncio.Transport) -> None:
        """The database has accepted the connection."""
        if self._ended:  # the client was faster to leave
            transport.abort()
            return
        self._database = transport
        sockets.keep_alive(transport)
        transport.set_write_buffer_limits(high=self._environment.limits.buffer_bytes)

    def database_data(self, data: bytes) -> None:
        """Bytes of the database."""
        commands = self._session.database_data(data)
        if commands is not None:
            self._carry_out(commands)
        elif self._client is not None:
            self._client.write(data)
        if self._draining:
            self.drain()

    def database_paused(self, *, paused: bool) -> None:
        """The database reads slower than the client writes."""
        self._database_is_slow = paused
        self._steer()

    def database_lost(self) -> None:
        """The database has closed the connection: so must we."""
        if not self._session.greeted and not self._ended:
            self._turn_away(self._cannot_connect("it closed the connection before its greeting"))
        self._end()

    # What the server side asks

    def drain(self) -> None:
        """End as soon as nothing runs."""
        self._draining = True
        if self._session.at_rest:
            self._end()

    def abort(self) -> None:
        """End now."""
        self._end()
        if self._client is not None:
            self._client.abort()

    # Within

    async def _connect(self) -> None:
        datasource = self._environment.datasource
        try:
            async with asyncio.timeout(self._environment.limits.connect_seconds):
                await self._loop.create_connection(
                    lambda: _DatabaseSide(self), datasource.host, datasource.port
                )
        except TimeoutError:
            self._turn_away(self._cannot_connect("no answer in time"))
        except OSError as error:
            self._turn_away(self._cannot_connect(str(error)))
        self._steer()

    def _cannot_connect(self, why: str) -> bytes:
        datasource = self._environment.datasource
        return errors.cannot_connect(datasource.host, datasource.port, why).encode_greeting()

    def _turn_away(self, payload: bytes) -> None:
        """Answer by an ERR where a greeting was expected."""
        if self._client is not None:
            self._client.write(frame(payload, 0))
        self._end()

    def _late(self) -> None:
        if not self._session.authenticated:
            self._end()

    def _carry_out(self, commands: list[SessionCommand]) -> None:
        """Do what the session wants; what can be answered at once is, without a task of its own."""
        more: list[SessionCommand] | None = commands
        while more is not None:
            last, more = more, None
            for command in last:
                match command:
                    case ToClient() if self._client is not None:
                        self._client.write(command.data)
                    case ToDatabase() if self._database is not None:
                        self._database.write(command.data)
                    case (
                        HasJoined() | Join() | Describe() | LookUp() | Pause() | Now()
                        | SecureDatabase() | SecureClient() | ShowKey() | Decipher()
                    ):  # fmt: skip
                        answer = asking.at_hand(self._environment, command)
                        if answer is asking.NOT_AT_HAND:
                            self._hold_still(command)
                            self._task = self._loop.create_task(self._answer(command))
                        else:
                            more = self._session.answered(answer)
                    case Close():
                        self._close(command.why)
                    case _:
                        asking.tell(self._environment, command)
        self._steer()

    def _close(self, why: str) -> None:
        _log.info("connection to %s closed: %s", self._environment.datasource.name, why)
        self._end()

    async def _answer(self, command: Answered) -> None:
        """Give the session what it waits for, or the error instead; an error of its own ends all."""
        try:
            try:
                value = await self._ask(command)
            except (StoreError, LookupError, OSError) as error:
                commands = self._session.failed(error)
            else:
                commands = self._session.answered(value)
            if not self._ended:
                self._carry_out(commands)
                self._take_early()
        except Exception:  # noqa: BLE001  a bug costs one connection, not the process; it is logged whole
            _log.exception("a session failed; its connection is closed")
            self._end()
        if self._draining:
            self.drain()

    async def _ask(self, command: Answered) -> object:
        match command:
            case SecureDatabase():
                await self._secure_database()
            case SecureClient():
                await self._secure_client()
            case _:
                return await asking.ask(self._environment, command)
        return None

    def _hold_still(self, command: Answered) -> None:
        """Read nothing more in the clear from a side that is to have TLS."""
        side = {SecureDatabase: self._database, SecureClient: self._client}.get(type(command))
        if side is not None:
            self._upgrading = True
            side.pause_reading()

    async def _secure_database(self) -> None:
        if self._database is not None:
            datasource, tls = self._environment.datasource, self._environment.tls
            self._database_socket = self._database
            self._database, early = await self._upgrade(self._database, tls.to_database(), datasource.host)
            self._early = partial(self.database_data, early) if early else None

    async def _secure_client(self) -> None:
        if self._client is not None:
            context = self._environment.tls.to_application()
            self._client, early = await self._upgrade(self._client, context)
            self._early = partial(self.data_received, early) if early else None
            self._reading = True

    async def _upgrade(
        self, transport: asyncio.Transport, context: ssl.SSLContext, host: str | None = None
    ) -> tuple[asyncio.Transport, bytes]:
        limits = self._environment.limits
        try:
            secured, early = await upgrade(transport, context, seconds=limits.connect_seconds, host=host)
        except OSError as error:
            raise ConnectionError(told(error)) from error
        secured.set_write_buffer_limits(high=limits.buffer_bytes)
        self._upgrading = False
        return secured, early

    def _take_early(self) -> None:
        """Take in what came over TLS while the session was not told of it yet."""
        early, self._early = self._early, None
        if early is not None and not self._ended:
            early()

    def _steer(self) -> None:
        """Read from the client, or not: there must be somebody who takes its bytes."""
        if self._client is None or self._client.is_closing() or self._upgrading:
            return
        full = self._session.held_back > self._environment.limits.buffer_bytes
        reading = self._database is not None and not self._database_is_slow and not full
        if reading and not self._reading:
            self._client.resume_reading()
        elif self._reading and not reading:
            self._client.pause_reading()
        self._reading = reading

    def _end(self) -> None:
        """Send what is left to send, then close both sides."""
        if self._ended:
            return
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        if self._task is not None and self._task is not asyncio.current_task(self._loop):
            self._task.cancel()
        if self._client is not None:
            self._client.close()
        if self._database_socket is not None:  # nobody waits for the server to agree to the end of TLS
            self._database_socket.close()
        elif self._database is not None:
            self._database.close()
        self._environment.closed(self)


class _DatabaseSide(asyncio.Protocol):
    """The database's socket: hands everything to the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connection.database_made(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._connection.database_data(data)

    def pause_writing(self) -> None:
        self._connection.database_paused(paused=True)

    def resume_writing(self) -> None:
        self._connection.database_paused(paused=False)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connection.database_lost()
