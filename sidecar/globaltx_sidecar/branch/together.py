"""Many rollbacks in one local transaction, in four round trips, as long as nothing stands in the way.

A rollback by itself (`globaltx_sidecar.branch.restoring`) asks about each row in turn and waits for
the disk twice. Here the transactions of a batch share all of that: their fences are one statement,
their rows are read, restored and read again in trains, and one COMMIT ends it. It is for the plain
case only: each row stands as its record says. Whatever else is found (a row in conflict, a lock held
by somebody, an error of any kind) nothing has happened but the fences, and each of them is then
rolled back by itself.

The records are read without a lock, after the fences are durable: from then on only another leader
can touch them, and no new one can come. That nobody has is seen at the end, before the COMMIT, by the
number of records that were deleted. So rows are locked before their records, as applications do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.undo import compensate, locks
from globaltx.undo.compensate import Record, Verdict
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx.undo.values import UnreadableImageError, read_image
from globaltx_sidecar.branch.database import LOCK_WAIT_SECONDS, DatasourceUnavailableError, code_of
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
_COUNT = "SELECT ROW_COUNT()"


class _InTheWayError(Exception):
    """Something that only a rollback by itself can deal with."""


@dataclass(frozen=True, slots=True)
class _Change:
    """A record with its table, and the statement that reads the row."""

    shape: TableShape
    record: Record
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
            async with self._database.session() as session:
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
                f"SET SESSION innodb_lock_wait_timeout={_WAIT_SECONDS}",
                locks.take_fences(self._schema, xids),
                "BEGIN",
                locks.select_standing(self._schema, xids, RECORDS_MAX + 1),
            ]
        )
        if len(found) > RECORDS_MAX:
            raise _InTheWayError
        if found:
            await self._undo(session, found, xids)
        await session.train(["COMMIT", f"SET SESSION innodb_lock_wait_timeout={LOCK_WAIT_SECONDS}"])

    async def _undo(self, session: Session, found: Sequence[Row], xids: Sequence[Xid]) -> None:
        changes = [each for row in found if (each := await self._change(Record.read(*row))) is not None]
        order = sorted(changes, key=lambda each: (each.record.table_name, each.record.row_key))
        current = await session.train([each.select for each in order])
        standing = {id(each): each.judge(rows) for each, rows in zip(order, current, strict=True)}
        if Verdict.CONFLICT in standing.values():
            raise _InTheWayError
        restored = [each for each in changes if standing[id(each)] is Verdict.RESTORE]
        restores = [compensate.restore(each.shape, each.record) for each in restored]
        deletes = self._deletes(found, xids)
        texts = [*restores, *(each.select for each in restored), *deletes]
        if sum(map(len, texts)) > _TRAIN_CHARACTERS_MAX:
            raise _InTheWayError
        answers = await session.train(texts)
        read = answers[len(restores) : len(restores) + len(restored)]
        counts = answers[len(restores) + len(restored) + 1 :: 2]
        if any(each.judge(rows) is not Verdict.DONE for each, rows in zip(restored, read, strict=True)):
            raise _InTheWayError
        if sum(int(count) for ((count,),) in counts) != len(found):
            raise _InTheWayError

    async def _change(self, record: Record) -> _Change | None:
        """Look at a record; None when there is no row to look at."""
        shape = await self._schemas.shape(self._schema, record.table_name.decode("utf-8", "replace"))
        if compensate.select_children(shape, record):
            raise _InTheWayError
        select = compensate.select_current(shape, record)
        return None if select is None else _Change(shape, record, select)

    def _deletes(self, found: Sequence[Row], xids: Sequence[Xid]) -> list[str]:
        """Write the DELETEs of the records, each with the question how many it found."""
        return [
            text
            for name, row_keys in sorted(locks.keys_by_table(found).items())
            for text in (locks.delete_records(self._schema, name, row_keys, xids), _COUNT)
        ]
