"""Phase two of AT in one datasource: forget undo records, or apply them.

Both may be repeated, run twice at the same time, or be cut off anywhere: a commit only deletes
what an outcome has made worthless, a rollback does all of its work in one local transaction, by
itself or with others.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, TypeVar

from pymysql.err import MySQLError

from globaltx.modes import at
from globaltx.undo import locks, shown
from globaltx_sidecar.branch.database import LOCK_ERRORS, DatasourceUnavailableError, code_of
from globaltx_sidecar.branch.restoring import RecordsGoneError, Restoration
from globaltx_sidecar.branch.sweeping import read_xid
from globaltx_sidecar.branch.together import Together
from globaltx_sidecar.branch.undo_table import UndoTableMissingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import Settlement
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.branch.database import Database, Row, Session
    from globaltx_sidecar.branch.restoring import Restored
    from globaltx_sidecar.ports import Schemas

T = TypeVar("T")

ATTEMPTS_MAX = 5
"""How often a deadlock or a lock wait is tried again at once; after that the caller's backoff decides."""
FENCE_SECONDS = 3600
"""How long a rollback's fence stands: longer than any local transaction lives."""
KEYS_MAX = 500
TOGETHER_MAX = 4
"""DELETEs in one trip: with the longest keys they fit into a packet."""


class PhaseTwo:
    """Carries outcomes out in one datasource (`globaltx_sidecar.branch.desk.Carrier`)."""

    def __init__(self, database: Database, schemas: Schemas) -> None:
        self._database = database
        self._schemas = schemas
        self._schema = database.schema
        self._together = Together(database, schemas)

    async def commit(self, xids: Sequence[Xid]) -> None:
        """Drop the undo records, and with them the locks and fences, of committed transactions.

        Raises:
            DatasourceUnavailableError: a passing fault; some may be dropped, repeat it.
        """
        await self._insisting(lambda session: self._forget(session, xids))

    async def rollback(self, xid: Xid, resolutions: Sequence[Resolution] = ()) -> Settlement:
        """Undo what a transaction did here; RolledBack, or Conflict when a row was changed behind its back.

        What people have decided about rows in conflict is carried out in the same local transaction;
        the settlement's ``carried_out`` tells of this attempt only.

        Raises:
            DatasourceUnavailableError: a passing fault; nothing or everything happened, repeat it.
        """
        await self._insisting(lambda session: session.rows(locks.take_fence(self._schema, xid)))
        restored = await self._insisting(lambda session: self._undo_all(session, xid, resolutions))
        return at.rolled_back(restored.conflicts, resolutions, restored.decided)

    async def rollback_together(self, xids: Sequence[Xid]) -> bool:
        """Undo what transactions did here, all of them in one local transaction.

        False when something stands in the way, and nothing happened: roll each back by itself.

        Raises:
            DatasourceUnavailableError: a passing fault; nothing happened, repeat it.
        """
        return await self._together.rollback(xids)

    async def sweep(self) -> int:
        """Drop the fences that no local transaction can meet any more; return how many.

        Raises:
            DatasourceUnavailableError: a passing fault.
        """

        async def swept(session: Session) -> int:
            await session.rows(locks.sweep_fences(self._schema, FENCE_SECONDS))
            return int((await session.rows("SELECT ROW_COUNT()"))[0][0])

        return await self._insisting(swept)

    async def stale(self, older_than_seconds: float) -> list[Xid]:
        """List transactions whose records are still here after so long (at most a thousand).

        Raises:
            DatasourceUnavailableError: a passing fault.
        """
        rows = await self._insisting(
            lambda session: session.rows(locks.select_stale(self._schema, math.ceil(older_than_seconds)))
        )
        return [xid for (text,) in rows if (xid := read_xid(text)) is not None]

    async def _insisting(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do a piece of work on a connection, again after a deadlock or a lock wait.

        Raises:
            DatasourceUnavailableError: it did not get through.
        """
        failure: MySQLError | None = None
        for attempt in range(ATTEMPTS_MAX):
            if failure is not None:
                await asyncio.sleep(0.02 * 2**attempt * (0.5 + random.random()))  # noqa: S311  jitter
            try:
                async with self._database.session() as session:
                    return await work(session)
            except MySQLError as error:
                if code_of(error) in locks.MISSING_TABLE_ERRORS:
                    raise UndoTableMissingError(self._schema, error) from error
                if code_of(error) not in LOCK_ERRORS:
                    message = f"phase two was refused by the database: {error}"
                    raise DatasourceUnavailableError(message) from error
                failure = error
        message = f"rows that phase two needs are locked: {failure}"
        raise DatasourceUnavailableError(message) from failure

    async def _forget(self, session: Session, xids: Sequence[Xid]) -> None:
        """Delete records, as many portions as fit in one trip."""
        if not xids:
            return
        deletes = self._deletes(await session.rows(locks.select_keys(self._schema, xids)), xids)
        for first in range(0, len(deletes), TOGETHER_MAX):
            await session.train(deletes[first : first + TOGETHER_MAX])

    def _deletes(self, found: Iterable[Row], xids: Sequence[Xid]) -> list[str]:
        """Write the DELETEs of records by table and keys, one for each portion."""
        return [
            locks.delete_records(self._schema, table_name, row_keys[first : first + KEYS_MAX], xids)
            for table_name, row_keys in locks.keys_by_table(found).items()
            for first in range(0, len(row_keys), KEYS_MAX)
        ]

    async def _undo_all(self, session: Session, xid: Xid, resolutions: Sequence[Resolution]) -> Restored:
        masks = shown.Masks(self._database.datasource.sensitive_columns)
        for _ in range(ATTEMPTS_MAX):
            await session.rows("BEGIN")
            restoration = Restoration(session, self._schemas, self._schema, masks, resolutions)
            try:
                restored = await restoration.run(xid)
            except RecordsGoneError:
                await session.rows("ROLLBACK")
                continue
            for delete in self._deletes(restored.done, [xid]):
                await session.rows(delete)
            await session.rows("COMMIT")
            return restored
        message = f"another sidecar is restoring the rows of {xid} again and again"
        raise DatasourceUnavailableError(message)
