"""Many rollbacks in one local transaction, in three round trips, as long as nothing stands in the way.

A rollback by itself (`globaltx_sidecar.branch.restoring`) asks about each row in turn and waits for
the disk twice. Here the transactions of a batch share all of that: their fences are one statement, their
rows are read in one train and restored in another, which looks at its own work and commits it. It is for
the plain case only: each row stands as its record says. Whatever else is found (a row in conflict, a lock
held by somebody, an error of any kind) nothing has happened at all, and each of them is then rolled
back by itself.

The fences are taken in the same local transaction, first. Until it commits they are locked: a local commit
that comes meanwhile waits for that, where it would be refused behind a fence that stands already, and is
refused then. One that came first is waited for, and its records are seen, because they are read without a
snapshot that is older. Where a late local transaction of the same xid holds one of the rows, both would wait
for each other: the database ends that, for the local transaction as well as for the batch.

The records are read without a lock: behind the fences only another leader can touch them, one that has taken
them before, and no new one can come. That nobody has is seen at the end, before the COMMIT, by the number of
records that were deleted. So rows are locked before their records, as applications do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.undo import compensate, locks
from globaltx.undo.compensate import Record, Verdict
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx.undo.values import UnreadableImageError, read_image
from globaltx.values import dataclass
from globaltx_sidecar.branch.database import DatasourceUnavailableError, code_of
from globaltx_sidecar.branch.undo_table import UndoTableMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.shape import TableShape
    from globaltx_sidecar.branch.database import Database, Row, Session
    from globaltx_sidecar.ports import Schemas

RECORDS_MAX = 1000
"""A batch with more undo records is rolled back one by one: each of those takes long anyway."""
_WAIT_SECONDS = 1
"""How long it waits for a lock, the least that both servers know: the others in the batch wait too."""
_TRAIN_CHARACTERS_MAX = 8 << 20
"""So that it fits into a packet of either server, as they come."""
_ALONE = (NoSuchTableError, NoSuchColumnError, UnreadableImageError)


class _InTheWayError(Exception):
    """Something that only a rollback by itself can deal with."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A record with its table, its before image as it is written, and the statement that reads the row."""

    shape: TableShape
    record: Record
    before: str | None
    select: str

    def judge(self, rows: Sequence[Row]) -> Verdict:
        return compensate.judge(self.record, read_image(rows[0][0]) if rows else None)


class Together:
    """Rolls batches of transactions back in one datasource."""

    def __init__(self, database: Database, schemas: Schemas) -> None:
        self._database = database
        self._schemas = schemas
        self._schema = database.schema

    async def rollback(self, xids: Sequence[Xid]) -> bool:
        """Undo what transactions did here; False when that is nothing for a batch, and nothing happened.

        Raises:
            UndoTableMissingError: there is none.
            DatasourceUnavailableError: a passing fault; nothing or everything happened, repeat it.
        """
        try:
            async with self._database.session(_WAIT_SECONDS) as session:
                await self._attempt(session, xids)
        except _InTheWayError:
            return False
        return True

    async def _attempt(self, session: Session, xids: Sequence[Xid]) -> None:
        """Do it, or raise what has the connection closed, and with it everything taken back."""
        try:
            await self._roll_back(session, xids)
        except MySQLError as error:
            if code_of(error) in locks.MISSING_TABLE_ERRORS:
                raise UndoTableMissingError(self._schema, error) from error
            raise _InTheWayError from error
        except (*_ALONE, DatasourceUnavailableError) as error:
            # A connection that breaks in the middle may do so because of one of them.
            raise _InTheWayError from error

    async def _roll_back(self, session: Session, xids: Sequence[Xid]) -> None:
        *_, found = await session.train(
            [
                "BEGIN",
                locks.take_fences(self._schema, xids),
                locks.select_standing(self._schema, xids, RECORDS_MAX + 1),
            ]
        )
        if len(found) > RECORDS_MAX:
            raise _InTheWayError
        changes = [each for row in found if (each := await self._change(row)) is not None]
        restored = await self._to_restore(session, changes)
        restores = [compensate.restore(each.shape, each.record) for each in restored]
        last = [*restores, *self._deletes(found, xids, restored), "COMMIT"]
        if sum(map(len, last)) > _TRAIN_CHARACTERS_MAX:
            raise _InTheWayError
        await session.train(last)

    async def _change(self, row: Row) -> _Change | None:
        """Look at a record; None when there is no row to look at."""
        record = Record.read(*row)
        shape = await self._schemas.shape(self._schema, record.table_name.decode("utf-8", "replace"))
        if compensate.select_children(shape, record):
            raise _InTheWayError
        select = compensate.select_current(shape, record)
        return None if select is None else _Change(shape, record, row[2], select)

    async def _to_restore(self, session: Session, changes: Sequence[_Change]) -> list[_Change]:
        """Lock the rows, and say which of them must be restored; the others are as they were."""
        order = sorted(changes, key=lambda each: (each.record.table_name, each.record.row_key))
        current = await session.train([each.select for each in order])
        verdicts = {id(each): each.judge(rows) for each, rows in zip(order, current, strict=True)}
        if Verdict.CONFLICT in verdicts.values():
            raise _InTheWayError
        return [each for each in changes if verdicts[id(each)] is Verdict.RESTORE]

    def _deletes(self, found: Sequence[Row], xids: Sequence[Xid], restored: Sequence[_Change]) -> list[str]:
        """Write the DELETEs of records, and what fails unless all were there and all rows are as before."""
        if not found:
            return []
        texts = ["SET @globaltx_deleted=0"]
        for name, row_keys in sorted(locks.keys_by_table(found).items()):
            texts.append(locks.delete_records(self._schema, name, row_keys, xids))
            texts.append("SET @globaltx_deleted=@globaltx_deleted+ROW_COUNT()")
        wrong = [f"@globaltx_deleted<>{len(found)}"]
        wrong += [compensate.differs(each.shape, each.record, each.before) for each in restored]
        return [*texts, locks.stop_if(self._schema, " OR ".join(wrong))]
