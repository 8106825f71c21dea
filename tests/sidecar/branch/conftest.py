"""A datasource with its undo table, seen as the sidecar and as an application see it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.coordinator.policy import Datasource
from globaltx.modes import at
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.database import Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from globaltx_sidecar.branch.schemas import CachedSchemas
from globaltx_sidecar.branch.undo_table import ensure_undo_table
from tests.conftest import GLOBALTX_PASSWORD
from tests.undo.application import Application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from dev.databases import Server
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Settlement

_numbers = itertools.count(1)


@pytest.fixture
async def database(server: Server, schema: str, tmp_path: Path) -> AsyncIterator[Database]:
    """The sidecar's own access to a fresh schema that has its undo table."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "username").write_text("globaltx\n")
    (folder / "password").write_text(GLOBALTX_PASSWORD)
    datasource = Datasource(name="shop", host="127.0.0.1", port=server.port, schema=schema, secret="shop")
    database = Database(datasource, str(tmp_path))
    await ensure_undo_table(database)
    yield database
    database.close()


@pytest.fixture
def schemas(database: Database) -> CachedSchemas:
    return CachedSchemas(database)


class TogetherFirst(PhaseTwo):
    """As a desk goes about it: together with others (here nobody), and by itself where that cannot be."""

    async def rollback(self, xid: Xid, resolutions: Sequence[Resolution] = ()) -> Settlement:
        if not resolutions and await self.rollback_together([xid]):
            return at.rolled_back(())
        return await super().rollback(xid, resolutions)


@pytest.fixture(params=[PhaseTwo, TogetherFirst], ids=["alone", "together"])
def phase_two(request: pytest.FixtureRequest, database: Database, schemas: CachedSchemas) -> PhaseTwo:
    kind: type[PhaseTwo] = request.param
    return kind(database, schemas)


@pytest.fixture
def xid() -> Xid:
    return Xid("tests", f"x{next(_numbers)}")


@pytest.fixture
def application(server: Server, schema: str, schemas: CachedSchemas) -> Iterator[Callable[..., Application]]:
    """Make applications: ``application(xid, charset="latin1")``."""
    made: list[Application] = []

    def make(xid: Xid, **options: Any) -> Application:
        made.append(Application(server, schema, schemas, xid, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def sql(server: Server, schema: str) -> Callable[[str], str]:
    """Run SQL in the schema as root, outside of all global transactions."""
    return lambda text: server.execute(text, schema=schema)
