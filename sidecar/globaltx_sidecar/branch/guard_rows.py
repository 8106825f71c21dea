"""Guard rows as the sidecar's own account sees them: what they say of a try, and when they are forgotten.

They are forgotten when their transaction has ended, some time after the last of its rows was written. Rows
of one transaction go together: one that is left alone would say something else than before. How old they
are is told by the database's clock alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Protocol

from pymysql.err import MySQLError

from globaltx.modes.guard_row import delete_rows, done_query, select_old
from globaltx.stores.base import UnknownTransactionError
from globaltx.transaction.states import ENDS
from globaltx_sidecar.branch.sweeping import read_xid, sweep_for_ever

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.modes.guard_row import Guarded
    from globaltx.transaction.model import Snapshot
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.branch.database import Database
    from globaltx_sidecar.health import Health

PAUSE_SECONDS = 600.0
BATCH_MAX = 500
"""How many transactions are asked for, and their rows deleted, at once."""

DONE_SECONDS = 5.0
"""How long a repeat of a try waits to be told by its row."""

_log = logging.getLogger(__name__)


class Kept(Protocol):
    """The guard rows of one app in one datasource."""

    async def old(self, older_than_seconds: float, after: str) -> list[Xid]:
        """List transactions whose last row is so old, in the order of their texts, behind ``after``."""

    async def forget(self, xids: Sequence[Xid]) -> None:
        """Delete the rows of transactions."""


class Reads(Protocol):
    """Where transactions are kept."""

    async def read(self, xid: Xid) -> Snapshot:
        """Read a transaction and its branches.

        Raises:
            UnknownTransactionError: there is none.
            StoreError: nobody knows.
        """


class Either:
    """A store, and another for what the first does not know; implements `Reads`.

    Declared sagas are kept in Kubernetes, whatever the store is.
    """

    def __init__(self, first: Reads, other: Reads) -> None:
        self._first = first
        self._other = other

    async def read(self, xid: Xid) -> Snapshot:
        """See `Reads`."""
        try:
            return await self._first.read(xid)
        except UnknownTransactionError:
            return await self._other.read(xid)


class GuardRows:
    """Implements `Kept`; ``owner`` is the app, as its rows name it.

    Raises, wherever it asks:
        DatasourceUnavailableError, pymysql.err.MySQLError: the database does not do it now.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def old(self, older_than_seconds: float, after: str) -> list[Xid]:
        """List transactions whose last row is so old, in the order of their texts, behind ``after``."""
        query = select_old(
            self._database.schema, self._owner, math.ceil(older_than_seconds), after, BATCH_MAX
        )
        async with self._database.session() as session:
            return [xid for (text,) in await session.rows(query) if (xid := read_xid(text)) is not None]

    async def forget(self, xids: Sequence[Xid]) -> None:
        """Delete the rows of transactions."""
        async with self._database.session() as session:
            await session.rows(delete_rows(self._database.schema, self._owner, xids))

    async def done(self, call: Guarded) -> bool:
        """Whether the work of a call was committed; no, if the database does not say so in time."""
        try:
            async with asyncio.timeout(DONE_SECONDS), self._database.session() as session:
                return bool(await session.rows(done_query(self._database.schema, self._owner, call)))
        except (OSError, MySQLError) as error:  # a timeout is an OSError
            _log.warning("could not look whether %s was done: %s", call, error)
            return False


class GuardSweeper:
    """Forgets the guard rows of one datasource, now and then; ``keep_seconds`` after the last was written."""

    def __init__(
        self,
        resource: str,
        rows: Kept,
        store: Reads,
        health: Health,
        *,
        keep_seconds: float,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._rows = rows
        self._store = store
        self._health = health
        self._keep_seconds = keep_seconds
        self._pause_seconds = pause_seconds
        self._part = f"guard rows in {resource}"

    async def run(self) -> None:
        """Sweep again and again, for ever."""
        await sweep_for_ever(self._sweep, self._part, self._health, self._pause_seconds)

    async def _sweep(self) -> None:
        forgotten = await self.sweep()
        self._health.ok(self._part)
        _log.info("%s: forgot %d transactions", self._part, forgotten)

    async def sweep(self) -> int:
        """Sweep once; return of how many transactions the rows are gone."""
        after, forgotten = "", 0
        while xids := await self._rows.old(self._keep_seconds, after):
            over = [xid for xid in xids if await self._is_over(xid)]
            if over:
                await self._rows.forget(over)
            after, forgotten = str(xids[-1]), forgotten + len(over)
        return forgotten

    async def _is_over(self, xid: Xid) -> bool:
        """Whether no call of a transaction will be made any more: all are done, or it is forgotten.

        Raises:
            StoreError: the store does not say, so nothing is forgotten.
        """
        try:
            snapshot = await self._store.read(xid)
        except UnknownTransactionError:
            return True
        asked = [each for each in snapshot.branches if each.calls is not None or each.progress is not None]
        return snapshot.transaction.decision is not None and all(each.state in ENDS for each in asked)
