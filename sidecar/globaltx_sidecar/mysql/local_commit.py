"""The local commit: the undo records and the fence first, then COMMIT, stopping at the first error.

The registration of the branch is awaited before, so that whoever carries the outcome out sees
the branch. A lock conflict shows as the violated CHECK of the undo table; nothing is lost then,
the local transaction still stands, and it depends on the holder's outcome what to do (`conflicts`):
the record of one that has committed is taken over at once.

Whatever the error, the local transaction is rolled back before the application hears of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.undo import locks, refusal
from globaltx_sidecar.commands import Committed, Join
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.mysql import conflicts, errors
from globaltx_sidecar.mysql.patience import Patience
from globaltx_sidecar.mysql.steps import ServerError, end_of, roll_back, run

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.plan import UndoRecord
    from globaltx_sidecar.mysql.aftermath import Heard
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.packets import Err, Ok
    from globaltx_sidecar.mysql.steps import Step


def commit(
    standing: Standing,
    xid: Xid,
    records: Sequence[UndoRecord],
    statement: bytes,
    patience: Patience | None = None,
    heard: Heard | None = None,
) -> Generator[Step, Any, Ok]:
    """Commit the local transaction together with its undo records; return the answer to ``statement``.

    ``patience`` is what is left of it, where this is not the first attempt; ``heard`` listens for the
    warnings of what ran before.

    Raises:
        RefusedError, ServerError: it was rolled back.
    """
    try:
        yield from _joined(xid)
        patience = patience or Patience(standing.lock_wait_seconds)
        ended, waited_seconds = yield from _write(standing, xid, records, statement, patience, heard)
    except (errors.RefusedError, refusal.RefusedError, ServerError):
        yield from roll_back(standing)
        raise
    standing.ended()
    yield Committed(waited_seconds)
    return ended


def _joined(xid: Xid) -> Generator[Step, Any, None]:
    try:
        yield Join(xid)
    except StoreError as error:
        raise errors.refuse(reason_of(error), str(error)) from error


def _write(
    standing: Standing,
    xid: Xid,
    records: Sequence[UndoRecord],
    statement: bytes,
    patience: Patience,
    heard: Heard | None,
) -> Generator[Step, Any, tuple[Ok, float]]:
    """Write and commit, waiting for locks as long as patience lasts."""
    committed: set[Xid] = set()
    whole = conflicts.keeps_gaps(standing, records)
    check = [locks.stop_at_conflict(standing.schema)] if whole else []
    while True:
        insert = locks.undo_insert(standing.schema, xid, records, committed, whole=whole)
        runs = run if heard is None else heard.run
        arrived = yield from runs(standing, [insert, *check, statement], switch_back=True)
        error = arrived.error
        if error is None:
            return end_of(arrived), (yield from patience.ended())
        if error.code not in locks.LOCK_CONFLICT_ERRORS:
            raise failed(error)
        yield from conflicts.pass_by((yield from _holder(standing, xid)), committed, patience)


def _holder(standing: Standing, xid: Xid) -> Generator[Step, Any, Xid]:
    """Ask who holds the row.

    Raises:
        RefusedError: nobody can be waited for.
    """
    holder = yield from conflicts.holder_of(standing)
    if holder is None:
        details = "an inserted row was not found again by its primary key; write the key as a literal"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    if holder == xid:
        raise conflicts.no_longer(xid)
    return holder


def failed(error: Err) -> Exception:
    """What an error of the undo INSERT or of the COMMIT means."""
    if error.code in locks.MISSING_TABLE_ERRORS:
        return errors.refuse(Reason.UNDO_TABLE_MISSING, error.message)
    return ServerError(error)
