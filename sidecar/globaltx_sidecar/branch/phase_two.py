"""Phase two of AT in one datasource: forget undo records, or apply them.

Both may be repeated, run twice at the same time, or be cut off anywhere: a commit only deletes
what an outcome has made worthless, a rollback does all of its work in one local transaction.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pymysql.err import MySQLError

from globaltx.modes import at
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx.undo import compensate, locks
from globaltx.undo.compensate import Record, Verdict
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx.undo.values import UnreadableImageError, read_image
from globaltx_sidecar.branch.database import LOCK_ERRORS, DatasourceUnavailableError, code_of
from globaltx_sidecar.branch.undo_table import UndoTableMissingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from globaltx.transaction.model import Settlement
    from globaltx.undo.shape import TableShape
    from globaltx.undo.values import Image
    from globaltx_sidecar.branch.database import Database, Row, Session
    from globaltx_sidecar.ports import Schemas

T = TypeVar("T")

ATTEMPTS_MAX = 5
"""How often a deadlock or a lock wait is tried again at once; after that the caller's backoff decides."""
FENCE_SECONDS = 3600
"""How long a rollback's fence stands: longer than any local transaction lives."""
KEYS_MAX = 500
_CONSTRAINT_ERRORS = frozenset({1062, 1451, 1452, 1169, 1216, 1217, 1557, 1586, 1761, 1762})
"""A duplicate key or a foreign key: another row may have to be restored first."""


@dataclass(slots=True)
class _Undo:
    """One rollback under way: whose records are done, and why others are not."""

    done: list[Record] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


class PhaseTwo:
    """Carries outcomes out in one datasource (`globaltx_sidecar.branch.desk.Carrier`)."""

    def __init__(self, database: Database, schemas: Schemas) -> None:
        self._database = database
        self._schemas = schemas
        self._schema = database.schema

    async def commit(self, xids: Sequence[Xid]) -> None:
        """Drop the undo records, and with them the locks and fences, of committed transactions.

        Raises:
            DatasourceUnavailableError: a passing fault; some may be dropped, repeat it.
        """
        await self._insisting(lambda session: self._forget(session, xids))

    async def rollback(self, xid: Xid) -> Settlement:
        """Undo what a transaction did here; RolledBack, or Conflict when a row was changed behind its back.

        Raises:
            DatasourceUnavailableError: a passing fault; nothing or everything happened, repeat it.
        """
        await self._insisting(lambda session: session.rows(locks.take_fence(self._schema, xid)))
        conflicts = await self._insisting(lambda session: self._undo_all(session, xid))
        return at.rolled_back(conflicts)

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
        return [xid for (text,) in rows if (xid := _xid(text)) is not None]

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
        if not xids:
            return
        await self._delete(session, await session.rows(locks.select_keys(self._schema, xids)), xids)

    async def _delete(self, session: Session, found: Iterable[Row], xids: Sequence[Xid]) -> None:
        """Delete records by table and keys, portion by portion."""
        by_table: dict[bytes, list[bytes]] = defaultdict(list)
        for table_name, row_key in found:
            by_table[table_name].append(row_key)
        for table_name, row_keys in by_table.items():
            for first in range(0, len(row_keys), KEYS_MAX):
                portion = sorted(row_keys)[first : first + KEYS_MAX]
                await session.rows(locks.delete_records(self._schema, table_name, portion, xids))

    async def _undo_all(self, session: Session, xid: Xid) -> list[str]:
        """Undo every record that can be; give the sentences about those that cannot."""
        await session.rows("BEGIN")
        undo = _Undo()
        waiting = await self._in_rounds(session, await self._records(session, xid, undo), undo)
        if waiting:
            await self._undo_knot(session, waiting, undo)
        await self._delete(session, [(record.table_name, record.row_key) for record in undo.done], [xid])
        await session.rows("COMMIT")
        return undo.conflicts

    async def _in_rounds(self, session: Session, waiting: list[Record], undo: _Undo) -> list[Record]:
        """Undo what can be, again and again while that makes way for more; give what is left."""
        while waiting:
            postponed = [record for record in waiting if not await self._undo(session, record, undo)]
            if len(postponed) == len(waiting):
                break
            waiting = postponed
        else:
            return []
        return waiting

    async def _undo_knot(self, session: Session, records: list[Record], undo: _Undo) -> None:
        """Undo records that wait for one another: rows that have exchanged their values of a unique key.

        Their rows are taken out whole and put back as they were. If one of them cannot be, all stay.
        """
        await session.rows("SAVEPOINT globaltx_knot")
        attempt = _Undo()
        left: Sequence[Record] = await self._in_rounds(
            session, await self._take_out(session, records), attempt
        )
        if not left and not attempt.conflicts:
            undo.done += records
            return
        await session.rows("ROLLBACK TO SAVEPOINT globaltx_knot")
        for record in records:
            await self._undo(session, record, undo, last=True)

    async def _take_out(self, session: Session, records: Sequence[Record]) -> list[Record]:
        """Delete the rows that were changed; give the records that insert them as they were before."""
        # No child goes along, and none holds its row back: it will be there again.
        await session.rows("SET SESSION foreign_key_checks=0")
        try:
            return [await self._taken_out(session, record) for record in records]
        finally:
            await session.rows("SET SESSION foreign_key_checks=1")

    async def _taken_out(self, session: Session, record: Record) -> Record:
        shape = await self._schemas.shape(self._schema, record.table_name.decode())
        query = compensate.select_whole(shape, record)
        if (
            query is None
            or compensate.judge(record, await _current(session, shape, record)) is not Verdict.RESTORE
        ):
            return record
        ((whole,),) = await session.rows(query)
        await session.rows(compensate.take_out(shape, record))
        return compensate.put_back(record, read_image(whole))

    async def _records(self, session: Session, xid: Xid, undo: _Undo) -> list[Record]:
        found = []
        for row in await session.rows(locks.select_records(self._schema, xid)):
            try:
                found.append(Record.read(*row))
            except UnreadableImageError as error:
                undo.conflicts.append(f"{row[0]!r} {row[1]!r}: {error}")
        return found

    async def _undo(self, session: Session, record: Record, undo: _Undo, *, last: bool = False) -> bool:
        """Undo one record; False to have it tried again after others."""
        name = record.table_name.decode("utf-8", "replace")
        try:
            shape = await self._schemas.shape(self._schema, name)
            conflict = await _undo_row(session, shape, record)
        except (NoSuchTableError, NoSuchColumnError, UnreadableImageError) as error:
            conflict = f"{self._schema}.{name} {record.row_key!r}: {error}"
        except MySQLError as error:
            if code_of(error) in LOCK_ERRORS:
                raise
            if code_of(error) in _CONSTRAINT_ERRORS and not last:
                return False
            conflict = f"{self._schema}.{name} {record.row_key!r} cannot be restored: {error}"
        if conflict is None:
            undo.done.append(record)
        else:
            undo.conflicts.append(conflict)
        return True


async def _undo_row(session: Session, shape: TableShape, record: Record) -> str | None:
    """Restore a row if what the transaction left still stands; else say why it was left alone."""
    current = await _current(session, shape, record)
    match compensate.judge(record, current):
        case Verdict.DONE:
            return None
        case Verdict.CONFLICT:
            return compensate.describe_conflict(shape, record, current)
    for label, query in compensate.select_children(shape, record):
        if await session.rows(query):
            return f"{shape.label}: rows of {label} hang on the row that was inserted, and would go with it"
    await session.rows("SAVEPOINT globaltx_row")
    try:
        await session.rows(compensate.restore(shape, record))
        restored = await _current(session, shape, record)
    except MySQLError as error:
        if code_of(error) not in LOCK_ERRORS:
            await session.rows("ROLLBACK TO SAVEPOINT globaltx_row")
        raise
    if compensate.judge(record, restored) is Verdict.DONE:
        return None
    await session.rows("ROLLBACK TO SAVEPOINT globaltx_row")
    told = compensate.describe_conflict(shape, record, current)
    return f"{shape.label}: the row did not come back as it was; {told}"


async def _current(session: Session, shape: TableShape, record: Record) -> Image | None:
    query = compensate.select_current(shape, record)
    rows = [] if query is None else await session.rows(query)
    return read_image(rows[0][0]) if rows else None


def _xid(text: bytes) -> Xid | None:
    try:
        return Xid.parse(text.decode("ascii", "replace"))
    except InvalidXidError:
        return None
