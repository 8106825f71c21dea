"""The sidecar's own connections end with whoever asked for them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.policy import Datasource
from globaltx_sidecar.branch import database as module
from globaltx_sidecar.branch.database import Database, DatasourceUnavailableError
from tests.sidecar.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Mute:
    """A server that takes connections and says nothing."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Mute]:
        writers = []

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            self.taken.put_nowait(reader)

        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
            for writer in writers:
                writer.close()

    async def has_seen_the_end(self) -> bool:
        async with asyncio.timeout(30):
            return await (await self.taken.get()).read() == b""


def _database(tmp_path: Path, port: int) -> Database:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "username").write_text("globaltx\n")
    (folder / "password").write_text("secret")
    return Database(
        Datasource(name="shop", host="127.0.0.1", port=port, schema="shop", secret="shop"), str(tmp_path)
    )


async def _ask(database: Database) -> None:
    async with database.session():
        pass


async def test_a_login_that_is_given_up_leaves_no_connection(tmp_path: Path) -> None:
    async with Mute().listening() as mute:
        asking = asyncio.create_task(_ask(_database(tmp_path, mute.port)))
        reader = await mute.taken.get()
        mute.taken.put_nowait(reader)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await mute.has_seen_the_end()


async def test_a_login_that_takes_too_long_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.2)
    async with Mute().listening() as mute:
        with pytest.raises(DatasourceUnavailableError, match="does not let the sidecar in"):
            await _ask(_database(tmp_path, mute.port))
        assert await mute.has_seen_the_end()


@pytest.mark.database
async def test_a_kept_connection_that_is_given_up_is_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked whether it lives before it is lent: who asked may go away meanwhile."""
    await _ask(database)
    ((kept, _),) = database._idle
    monkeypatch.setattr(module, "TRUSTED_SECONDS", 0.0)
    asked = asyncio.Event()

    async def never(*, reconnect: bool) -> None:
        assert not reconnect
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(kept, "ping", never)
    asking = asyncio.create_task(_ask(database))
    await asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert kept.closed


async def _number(database: Database) -> int:
    async with database.session() as session:
        return int((await session.rows("SELECT CONNECTION_ID()"))[0][0])


@pytest.mark.database
async def test_a_connection_is_used_again_unless_it_has_ended_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch, sql: Callable[[str], str]
) -> None:
    first = await _number(database)
    assert await _number(database) == first
    sql(f"KILL {first}")
    monkeypatch.setattr(module, "TRUSTED_SECONDS", 0.0)
    assert await _number(database) != first


@pytest.mark.database
async def test_connections_that_nobody_asks_for_are_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch, sql: Callable[[str], str]
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    database.close()
    database._closed = False  # what its undo table was made with is gone
    last = await _number(database)
    there = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {last}"
    await eventually(lambda: sql(there).strip() == "0")
    assert not database._idle
