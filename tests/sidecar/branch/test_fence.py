"""The fence: a local commit and the rollback of its transaction, at every point of both.

Each statement of the rollback is let through by itself. Between any two of them the local commit sends
its INSERT, and between the same or any two later ones its COMMIT; who must wait for the other is left
to wait while the other goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.err import MySQLError

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx.undo import locks
from globaltx_sidecar.branch.database import LOCK_WAIT_SECONDS, Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from tests.sidecar.branch.conftest import TogetherFirst

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from dev.databases import Server
    from globaltx_sidecar.branch.database import Row, Session
    from globaltx_sidecar.branch.schemas import CachedSchemas
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]
    Ask = Callable[[str], list[tuple[Any, ...]]]

STOCK = """
CREATE TABLE stock (id INT PRIMARY KEY, amount INT);
INSERT INTO stock VALUES (1, 100), (2, 100), (3, 100);
"""
ROWS = [(1, 100), (2, 100), (3, 100)]
CHANGES = ("UPDATE stock SET amount = 90 WHERE id = 1", "INSERT INTO stock VALUES (5, 1)")
WAITS = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
SECONDS = 60


class Stepped(Database):
    """A database that lets one statement through at a time, until it is told to let all through."""

    free = False
    may_go: asyncio.Semaphore
    ends: asyncio.Event

    @contextlib.asynccontextmanager
    async def session(self, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> AsyncIterator[Any]:
        async with super().session(lock_wait_seconds) as session:
            yield _Stepped(self, session)


class _Stepped:
    def __init__(self, database: Stepped, session: Session) -> None:
        self._database = database
        self._session = session

    async def rows(self, sql: str, arguments: Sequence[object] | None = None) -> Sequence[Row]:
        if not self._database.free:
            await self._database.may_go.acquire()
        try:
            return await self._session.rows(sql, arguments)
        finally:
            self._database.ends.set()

    async def train(
        self, statements: Sequence[str], arguments: Sequence[object] | None = None
    ) -> list[Sequence[Row]]:
        return [await self.rows(each, arguments) for each in statements]


@pytest.fixture
def ask(server: Server, schema: str) -> Iterator[Ask]:
    """Ask past everything, quickly."""
    with pymysql.connect(
        unix_socket=str(server.socket), user="root", database=schema, autocommit=True
    ) as connection:

        def rows(sql: str) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())

        yield rows


class Race:
    """One local commit against one rollback."""

    def __init__(self, app: Application, database: Stepped, phase_two: PhaseTwo, ask: Ask) -> None:
        self._app = app
        self._database = database
        self._ask = ask
        database.may_go, database.ends, database.free = asyncio.Semaphore(0), asyncio.Event(), False
        self.rollback = asyncio.create_task(phase_two.rollback(app.xid))
        self._local: asyncio.Task[Any] | None = None
        self.steps = 0

    async def step(self) -> bool:
        """Let the rollback's next statement through; False: it has no more, or waits for the local commit."""
        if self.rollback.done() or self._somebody_waits():
            return False
        self._database.ends.clear()
        self._database.may_go.release()
        await self._until(lambda: self._database.ends.is_set() or self.rollback.done())
        self.steps += 1
        return not self._somebody_waits()

    def _somebody_waits(self) -> bool:
        return int(self._ask(WAITS)[0][1]) > 0

    async def insert(self) -> None:
        app = self._app
        await self._send(app.run(locks.undo_insert(app.schema, app.xid, app.work.records)))

    async def commit(self) -> None:
        """Commit, or roll back where the INSERT was refused; what still waits is done first."""
        if await self._refused():
            await self._app.roll_back()
        else:
            await self._send(self._app.run(b"COMMIT"))

    async def end(self) -> None:
        """Let both end."""
        self._database.free = True
        self._database.may_go.release()
        async with asyncio.timeout(SECONDS):
            assert (await self.rollback).state is State.ROLLED_BACK
            assert self._local is None or not await self._refused()

    async def _refused(self) -> bool:
        """Whether the INSERT was refused; the rollback goes on if it must for that to be known."""
        if self._local is not None and not self._local.done():
            self._database.free = True
            self._database.may_go.release()
        if self._local is None:
            return False
        await asyncio.wait([self._local], timeout=SECONDS)
        error = self._local.exception()
        if error is None:
            return False
        assert isinstance(error, MySQLError)
        assert error.args[0] in locks.LOCK_CONFLICT_ERRORS, error
        assert await self._app.holder() == self._app.xid
        self._local = None
        return True

    async def _send(self, statement: Coroutine[Any, Any, Any]) -> None:
        self._local = local = asyncio.create_task(statement)
        await self._until(local.done)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Until it is so, or somebody waits for a lock."""
        async with asyncio.timeout(SECONDS):
            while not (holds() or self._somebody_waits()):  # noqa: ASYNC110  nobody sets an event
                await asyncio.sleep(0.001)


async def play(race: Race, inserts_after: int, commits_after: int) -> tuple[bool, bool]:
    """Let one INSERT and COMMIT fall between these statements; whether there were so many for either."""
    inserted = committed = False
    for at in range(commits_after + 1):
        if at == inserts_after:
            await race.insert()
            inserted = True
        if at == commits_after:
            await race.commit()
            committed = True
        elif not await race.step():
            break
    if not inserted:
        await race.insert()
    if not committed:
        await race.commit()
    await race.end()
    return inserted, committed


@pytest.mark.parametrize("kind", [PhaseTwo, TogetherFirst], ids=["alone", "together"])
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
async def test_a_rollback_at_every_point_of_a_local_commit(
    application: Make,
    database: Database,
    schemas: CachedSchemas,
    sql: Sql,
    ask: Ask,
    level: str,
    kind: type[PhaseTwo],
) -> None:
    sql(STOCK)
    stepped = Stepped(database.datasource, str(database._folder.parent))
    await schemas.shape(database.schema, "stock")
    app = application(Xid("tests", "race"))
    await app.run(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}".encode())
    played, inserts_after, more = 0, 0, True
    while more:
        commits_after, more_commits = inserts_after, True
        while more_commits:
            app.xid = Xid("tests", f"race-{inserts_after}-{commits_after}")
            for change in CHANGES:
                await app.execute(change)
            race = Race(app, stepped, kind(stepped, schemas), ask)
            more, more_commits = await play(race, inserts_after, commits_after)
            app.work.clear()
            played += 1
            where = f"INSERT after {inserts_after}, COMMIT after {commits_after} of {race.steps}"
            assert ask("SELECT * FROM stock ORDER BY id") == ROWS, where
            assert ask("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''") == [(0,)], where
            assert ask("SELECT COUNT(*) FROM globaltx_undo WHERE xid NOT LIKE '!%'") == [(0,)], where
            assert int(ask(WAITS)[0][1]) == 0, where
            ask("SELECT * FROM stock FOR UPDATE NOWAIT")
            ask("SELECT * FROM globaltx_undo FOR UPDATE NOWAIT")
            commits_after += 1
        inserts_after += 1
    assert played > (20 if kind is PhaseTwo else 10)
    stepped.close()
