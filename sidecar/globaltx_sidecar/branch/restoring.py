"""One rollback under way: every record that can be is undone, and the others are shown.

All of it happens in the caller's local transaction, so that it may be cut off anywhere and repeated:
a row and its record change together or not at all, also where a person's decision is carried out.

Rows are locked before undo records, as local commits lock them: who has a row that we wait for finds its
record free, sees whose it is, and gives way, where two orders would come to a deadlock. So the records are
read first without a lock, and locked when all rows are done. The fence lets none be added meanwhile; if
some are gone then, another one was restoring the same rows, and all of this is given up and begun anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymysql.err import MySQLError

from globaltx.transaction.conflict import Remedy, resolution_of
from globaltx.undo import compensate, locks, shown
from globaltx.undo.compensate import Record, Verdict
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx.undo.values import UnreadableImageError, read_image
from globaltx_sidecar.branch.database import LOCK_ERRORS, code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.transaction.conflict import Resolution, RowConflict
    from globaltx.transaction.xid import Xid
    from globaltx.undo.shape import TableShape
    from globaltx.undo.shown import Masks
    from globaltx.undo.values import Image
    from globaltx_sidecar.branch.database import Row, Session
    from globaltx_sidecar.ports import Schemas

_CONSTRAINT_ERRORS = frozenset({1062, 1451, 1452, 1169, 1216, 1217, 1557, 1586, 1761, 1762})
"""A duplicate key or a foreign key: another row may have to be restored first."""


_LONG = 512 * 1024
"""Any server takes shorter statements."""


class RecordsGoneError(Exception):
    """Another rollback of the same transaction was faster; nothing may be committed."""


class _HeldError(Exception):
    """Rows hang on one that is to be removed, and would go with it; if they are ours, they go before it."""

    def __init__(self, conflict: RowConflict) -> None:
        super().__init__(conflict)
        self.conflict = conflict


@dataclass(slots=True)
class Restored:
    """What came of it: whose records are done with, which rows were left alone.

    ``decided`` counts the rows that went by a person's decision, by the decision's number.
    """

    done: list[tuple[bytes, bytes]] = field(default_factory=list)
    conflicts: list[RowConflict] = field(default_factory=list)
    decided: Counter[int] = field(default_factory=Counter)


class Restoration:
    """Undoes the records of one transaction in one schema, as the ``resolutions`` of people say."""

    def __init__(
        self, session: Session, schemas: Schemas, schema: str, masks: Masks, resolutions: Sequence[Resolution]
    ) -> None:
        self._session = session
        self._schemas = schemas
        self._schema = schema
        self._masks = masks
        self._resolutions = resolutions
        self._found: set[Row] = set()
        self._ambiguous: set[tuple[bytes, str]] = set()
        self._held: set[tuple[bytes, bytes]] = set()
        self._restored = Restored()

    async def run(self, xid: Xid) -> Restored:
        """Undo what can be; a row that waits for another is tried again after that.

        Raises:
            RecordsGoneError: roll back and begin anew.
        """
        waiting = await self._in_rounds(await self._records(xid))
        if waiting:
            await self._undo_knot(waiting)
        locked = set(await self._session.rows(locks.lock_records(self._schema, xid)))
        if locked != self._found:
            raise RecordsGoneError
        return self._restored

    async def _in_rounds(self, waiting: list[Record]) -> list[Record]:
        """Undo what can be, again and again while that makes way for more; give what is left."""
        while waiting:
            postponed = [record for record in waiting if not await self._undo(record)]
            if len(postponed) == len(waiting):
                break
            waiting = postponed
        else:
            return []
        return waiting

    async def _undo_knot(self, records: list[Record]) -> None:
        """Undo records that wait for one another: rows that have exchanged their values of a unique key.

        Their rows are taken out whole and put back as they were. If one of them cannot be, all stay; but
        what others' rows hang on is no part of a knot, and the rest is tried without it.
        """
        await self._session.rows("SAVEPOINT globaltx_knot")
        so_far, self._restored = self._restored, Restored()
        left = await self._in_rounds(await self._take_out(records))
        attempt, self._restored = self._restored, so_far
        if not left and not attempt.conflicts:
            so_far.done += attempt.done
            so_far.decided.update(attempt.decided)
            return
        await self._session.rows("ROLLBACK TO SAVEPOINT globaltx_knot")
        held: list[Record] = []
        others: list[Record] = []
        for record in records:
            (held if (record.table_name, record.row_key) in self._held else others).append(record)
        for record in held or records:
            await self._undo(record, last=True)
        if held and others:
            await self._undo_knot(others)

    async def _take_out(self, records: Sequence[Record]) -> list[Record]:
        """Delete the rows that were changed; give the records that insert them as they were before."""
        # No child goes along, and none holds its row back: it will be there again.
        await self._session.rows("SET SESSION foreign_key_checks=0")
        try:
            return [await self._taken_out(record) for record in records]
        finally:
            await self._session.rows("SET SESSION foreign_key_checks=1")

    async def _taken_out(self, record: Record) -> Record:
        try:
            return await self._whole(record)
        except UnreadableImageError:
            return record  # it stays, and is told of when it is undone by itself

    async def _whole(self, record: Record) -> Record:
        shape = await self._schemas.shape(self._schema, _text(record.table_name))
        query = compensate.select_whole(shape, record)
        stands = compensate.judge(record, await self._current(shape, record))
        if query is None or stands is not Verdict.RESTORE:
            return record
        ((whole,),) = await self._session.rows(query)
        kept = compensate.put_back(record, read_image(whole))
        await self._session.rows(compensate.take_out(shape, record))
        return kept

    async def _records(self, xid: Xid) -> list[Record]:
        rows = [
            (*row, shown.row_id(row[0], _text(made)))
            for *row, made in await self._session.rows(locks.select_records(self._schema, xid))
        ]
        self._found = {row[:2] for row in rows}
        counted = Counter((row[0], row[-1]) for row in rows)
        self._ambiguous = {name for name, count in counted.items() if count > 1}
        found = []
        for row in rows:
            try:
                found.append(Record.read(*row))
            except UnreadableImageError as error:
                self._unreadable(Record(row[0], row[1], None, None, row[-1]), error)
        return found

    def _unreadable(self, record: Record, error: UnreadableImageError) -> None:
        resolution = self._resolution(record)
        if resolution is not None and resolution.action is Remedy.KEEP:
            self._done(record, resolution)
        else:
            self._left(self._unread(record, str(error)))

    async def _undo(self, record: Record, *, last: bool = False) -> bool:
        """Undo one record, or do what was decided about it; False to have it tried again after others."""
        resolution = self._resolution(record)
        if resolution is not None and resolution.action is Remedy.KEEP:
            self._done(record, resolution)
            return True
        overwrite = resolution is not None and resolution.action is Remedy.RESTORE
        try:
            shape = await self._schemas.shape(self._schema, _text(record.table_name))
            conflict = await self._undo_row(shape, record, overwrite=overwrite)
        except _HeldError as held:
            self._held.add((record.table_name, record.row_key))
            if not last:
                return False
            conflict = held.conflict
        except (NoSuchTableError, NoSuchColumnError, UnreadableImageError) as error:
            conflict = self._unread(record, str(error))
        except MySQLError as error:
            if code_of(error) in LOCK_ERRORS:
                raise
            if code_of(error) in _CONSTRAINT_ERRORS and not last:
                return False
            conflict = self._unread(record, f"cannot be restored: {self._told(record, error)}")
        if conflict is None:
            self._done(record, resolution)
        else:
            self._left(conflict)
        return True

    async def _undo_row(self, shape: TableShape, record: Record, *, overwrite: bool) -> RowConflict | None:
        """Restore a row if what the transaction left still stands, or anyhow; else show why it was not."""
        current = await self._current(shape, record)
        verdict = compensate.judge(record, current)
        if verdict is Verdict.DONE:
            return None
        if verdict is Verdict.CONFLICT:
            if not overwrite:
                return shown.row_conflict(shape, record, current, self._masks)
            try:
                change = compensate.overwrite(shape, record, current)
            except UnreadableImageError as error:
                return shown.row_conflict(shape, record, current, self._masks, str(error))
        else:
            change = record
        for label, query in compensate.select_children(shape, change):
            if await self._session.rows(query):
                hanging = f"cannot be removed: rows of {label} hang on it, and would go with it"
                raise _HeldError(shown.row_conflict(shape, record, current, self._masks, hanging))
        if await self._put_back(shape, record, change):
            return None
        return shown.row_conflict(shape, record, current, self._masks, "did not come back as it was")

    async def _put_back(self, shape: TableShape, record: Record, change: Record) -> bool:
        """Write the row and see whether it is what it was before; if not, nothing was written."""
        statement = compensate.restore(shape, change)
        await self._check_fits(len(statement))
        await self._session.rows("SAVEPOINT globaltx_row")
        try:
            await self._session.rows(statement)
            restored = await self._current(shape, record)
        except MySQLError as error:
            if code_of(error) not in LOCK_ERRORS:
                await self._session.rows("ROLLBACK TO SAVEPOINT globaltx_row")
            raise
        if compensate.judge(record, restored) is Verdict.DONE:
            return True
        await self._session.rows("ROLLBACK TO SAVEPOINT globaltx_row")
        return False

    async def _check_fits(self, length: int) -> None:
        """See that the server takes a statement of that length: it would end the connection, for ever.

        Raises:
            UnreadableImageError: it does not.
        """
        if length < _LONG:
            return
        ((most,),) = await self._session.rows("SELECT @@max_allowed_packet")
        if length + _LONG // 64 >= int(most):
            message = (
                f"cannot be restored: that takes a statement of {length} bytes, and the server's"
                f" max_allowed_packet is {most}; raise it and retry"
            )
            raise UnreadableImageError(message)

    async def _current(self, shape: TableShape, record: Record) -> Image | None:
        query = compensate.select_current(shape, record)
        rows = [] if query is None else await self._session.rows(query)
        return read_image(rows[0][0]) if rows else None

    def _resolution(self, record: Record) -> Resolution | None:
        """What was decided about a record; one that shares its name with another is no row of its own."""
        row = "" if (record.table_name, record.row) in self._ambiguous else record.row
        about = [each for each in self._resolutions if row or not each.row]
        return resolution_of(about, _text(record.table_name), row)

    def _done(self, record: Record, resolution: Resolution | None) -> None:
        self._restored.done.append((record.table_name, record.row_key))
        if resolution is not None:
            self._restored.decided[resolution.number] += 1

    def _left(self, conflict: RowConflict) -> None:
        self._restored.conflicts.append(conflict)

    def _unread(self, record: Record, problem: str) -> RowConflict:
        table = _text(record.table_name)
        return shown.unread_conflict(table, record.row, record.row_key, self._masks, problem)

    def _told(self, record: Record, error: MySQLError) -> str:
        """The server's words may quote the row's values."""
        hidden = self._masks.touches(_text(record.table_name))
        return f"error {code_of(error)} (its text may hold masked values)" if hidden else str(error)


def _text(text: bytes | str) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
