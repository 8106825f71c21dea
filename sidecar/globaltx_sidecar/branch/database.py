"""Connections of the sidecar's own account: for phase two, for the undo table, and to look at schemas.

They are few, kept while they are used, and thrown away at the first sign of trouble. The credentials are
read from their files for each new connection, so that a changed Secret needs no restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import aiomysql
from pymysql.constants import CLIENT
from pymysql.err import Error, InterfaceError, MySQLError, OperationalError

from globaltx.coordinator.policy import TlsMode
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.settings import CREDENTIALS_FOLDER
from globaltx.undo import compensate
from globaltx.values import dataclass
from globaltx_sidecar.mysql.handshake import Terms, no_tls
from globaltx_sidecar.tls import DatasourceTls, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from globaltx.coordinator.policy import Datasource

CONNECTIONS_MAX = 8
IDLE_SECONDS = 10.0
"""How long a connection is kept that nobody asks for."""
TRUSTED_SECONDS = 1.0
"""How long one is taken to be alive after its last answer; later it is asked first."""
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 30.0
LOCK_WAIT_SECONDS = 5
LOCK_ERRORS = frozenset({1205, 1213, 1020})
"""Lock wait timeout, deadlock, and (MariaDB 11.6 on) a snapshot that is too old."""
_SERVER_GONE = frozenset(
    {1040, 1045, 1053, 1129, 1130, 1152, 1153, 1158, 1159, 1160, 1161, 1203, 1226, 1290, 1927, 4031}
)

Row: TypeAlias = "tuple[Any, ...]"


class DatasourceUnavailableError(ConnectionError):
    """A passing fault: the database does not answer, or does not let the sidecar in. Try again later."""

    reason: ClassVar[Reason] = Reason.DATASOURCE_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Credentials:
    """The sidecar's own account; never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(...)"

    @classmethod
    def read(cls, folder: Path) -> Credentials:
        """Read the files ``username`` and ``password`` of a mounted Secret.

        Raises:
            DatasourceUnavailableError: one of them is missing (yet).
        """
        try:
            return cls(*((folder / name).read_text().rstrip("\n") for name in ("username", "password")))
        except (OSError, UnicodeDecodeError) as error:
            message = (
                f"the credentials of the sidecar's account cannot be read: {type(error).__name__}: {folder}"
            )
            raise DatasourceUnavailableError(message) from error


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]  # the driver ships no types
    """A cursor that leaves warnings where they are: nobody asked for them, and they may quote a row."""

    async def _show_warnings(self, conn: Any) -> None:
        """The driver would fetch each warning and print it."""


class Session:
    """One connection, in autocommit unless told ``BEGIN``; statements wait for locks as long as they may."""

    def __init__(self, connection: Any, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> None:
        self._connection = connection
        self._lock_wait_seconds = lock_wait_seconds

    async def rows(self, sql: str, arguments: Sequence[object] | None = None) -> Sequence[Row]:
        """Run one statement and give its rows.

        ``arguments`` are for SQL of constants (``%s``); everything else is written as literals beforehand.

        Raises:
            DatasourceUnavailableError: the connection broke.
            pymysql.err.MySQLError: the server refused the statement.
        """
        return (await self.train([sql], arguments))[0]

    async def train(
        self, statements: Sequence[str], arguments: Sequence[object] | None = None
    ) -> list[Sequence[Row]]:
        """Run statements in one round trip, until the first error, and give the rows of each.

        ``arguments`` are those of all of them, as in `rows`.

        Raises:
            DatasourceUnavailableError: the connection broke.
            pymysql.err.MySQLError: the server refused one of them; those before it were run.
        """
        if not statements:
            return []
        first = self._connection.lets_wait(self._lock_wait_seconds)
        async with self._asking("; ".join([*first, *statements]), arguments) as cursor:
            found: list[Sequence[Row]] = [await cursor.fetchall()]
            while await cursor.nextset():
                found.append(await cursor.fetchall())
            return found[len(first) :]

    @contextlib.asynccontextmanager
    async def _asking(self, sql: str, arguments: Sequence[object] | None) -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(STATEMENT_SECONDS), self._connection.cursor(_Cursor) as cursor:
                await cursor.execute(sql, arguments)
                yield cursor
        except TimeoutError as error:
            message = f"the database did not answer within {STATEMENT_SECONDS:g} s"
            raise DatasourceUnavailableError(message) from error
        except (OSError, InterfaceError) as error:
            raise DatasourceUnavailableError(str(error)) from error
        except OperationalError as error:
            if is_unavailable(error):
                raise DatasourceUnavailableError(_told(error)) from error
            raise


class Database:
    """One datasource, seen with the sidecar's own account; at most `CONNECTIONS_MAX` connections."""

    def __init__(self, datasource: Datasource, credentials_folder: str = CREDENTIALS_FOLDER) -> None:
        self.datasource = datasource
        self._folder = Path(credentials_folder) / datasource.name
        self._tls = DatasourceTls(datasource.tls, self._folder)
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle: deque[tuple[Any, float]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def schema(self) -> str:
        """The schema of the datasource, where its undo table lives."""
        return self.datasource.schema

    @contextlib.asynccontextmanager
    async def session(self, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> AsyncIterator[Session]:
        """Lend a connection; one that saw any error, or was given up, is closed instead of kept.

        Raises:
            DatasourceUnavailableError: there is none to be had.
        """
        async with self._room:
            connection = await self._connection()
            clean = False
            try:
                yield Session(connection, lock_wait_seconds)
                clean = True
            finally:
                if clean and not self._closed:
                    self._keep(connection)
                else:
                    connection.close()

    def close(self) -> None:
        """Close what is idle; connections that are lent out close when they come back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        while self._idle:
            self._idle.pop()[0].close()

    def _keep(self, connection: Any) -> None:
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._sweeping is None:
            self._sweeping = loop.call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close those that nobody has asked for, and come again while there are others."""
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0][1] <= loop.time() - IDLE_SECONDS:
            self._idle.popleft()[0].close()
        due = self._idle[0][1] + IDLE_SECONDS if self._idle else None
        self._sweeping = None if due is None else loop.call_at(due, self._sweep)

    async def _connection(self) -> Any:
        while self._idle:
            connection, since = self._idle.pop()
            if asyncio.get_running_loop().time() - since < TRUSTED_SECONDS:
                return connection
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.ping(reconnect=False)
            except (OSError, Error, TimeoutError):
                connection.close()
            except BaseException:
                connection.close()  # whoever asked is gone
                raise
            else:
                return connection
        return await self._connect()

    async def _connect(self) -> Any:
        credentials = Credentials.read(self._folder)
        datasource = self.datasource
        connection = _Connection(
            self._tls,
            host=datasource.host,
            port=datasource.port,
            user=credentials.username,
            password=credentials.password,
            charset="utf8mb4",
            autocommit=True,
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection._connect()  # noqa: SLF001  as the driver's own `connect` does
        except (OSError, TimeoutError, MySQLError) as error:
            connection.close()
            message = f"{datasource.host}:{datasource.port} does not let the sidecar in: {_told(error)}"
            raise DatasourceUnavailableError(message) from error
        except BaseException:
            connection.close()
            raise
        try:
            await Session(connection).train(compensate.SESSION)
        except BaseException:
            connection.close()
            raise
        return connection


class _Connection(aiomysql.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection that keeps to the datasource's TLS.

    The driver alone takes a server that offers no TLS as it is, and would give it the password.
    """

    def __init__(self, tls: DatasourceTls, **options: Any) -> None:
        wanted = tls.mode is not TlsMode.DISABLED
        super().__init__(**options, ssl=tls.to_database() if wanted else None)
        self._mode = tls.mode
        self._lock_wait_seconds = 0

    def lets_wait(self, seconds: int) -> list[str]:
        """What must be said first for statements to wait so long for a lock; nothing if that was said."""
        if seconds == self._lock_wait_seconds:
            return []
        self._lock_wait_seconds = seconds
        return [f"SET SESSION innodb_lock_wait_timeout={seconds}"]

    async def _request_authentication(self) -> None:
        if Terms(self._mode).insists and not self.server_capabilities & CLIENT.SSL:
            refused = no_tls(self._mode)
            raise OperationalError(refused.code, refused.message)
        await super()._request_authentication()

    def close(self) -> None:
        """Close at once: the end of TLS would be waited for, by whom nobody knows."""
        if self._secure and self._writer is not None:
            self._writer.transport.abort()
        super().close()


def code_of(error: MySQLError) -> int:
    """The server's error number; 0 when there is none."""
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def is_unavailable(error: MySQLError) -> bool:
    """Whether the connection, not the statement, is at fault (the client's own numbers begin at 2000)."""
    code = code_of(error)
    return 2000 <= code < 3000 or code in _SERVER_GONE  # noqa: PLR2004  the client's own numbers


def _told(error: BaseException) -> str:
    """A sentence about an error; the driver's messages hold no password."""
    if isinstance(error, MySQLError) and len(error.args) > 1:
        below = f": {told(error.__cause__)}" if isinstance(error.__cause__, OSError) else ""
        return f"{error.args[1]} ({error.args[0]}){below}"
    return told(error)
