"""Global locks for a change that takes part in no global transaction.

The rows that it has changed are locked by its local transaction. While they are, their keys are
tried against the undo table, as those of a locking read are, and taken out again: what another
transaction may still undo shows as a violated CHECK. Nothing is left in the undo table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.undo import locks, refusal
from globaltx_sidecar.mysql import conflicts, errors
from globaltx_sidecar.mysql.local_commit import failed
from globaltx_sidecar.mysql.steps import ServerError, roll_back

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.plan import UndoRecord
    from globaltx_sidecar.mysql.aftermath import Heard
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.patience import Patience
    from globaltx_sidecar.mysql.steps import Step


def respect(
    standing: Standing,
    records: Sequence[UndoRecord],
    patience: Patience,
    heard: Heard,
    closing: Sequence[bytes] = (),
) -> Generator[Step, Any, None]:
    """Wait until the changed rows are no other transaction's; ``closing`` runs right behind.

    ``heard`` listens for the warnings of the change.

    Raises:
        RefusedError, ServerError: the local transaction was rolled back.
    """
    if not records:
        return
    try:
        yield from _ask(standing, records, patience, heard, closing)
    except (errors.RefusedError, refusal.RefusedError, ServerError):
        yield from roll_back(standing)
        raise


def _ask(
    standing: Standing,
    records: Sequence[UndoRecord],
    patience: Patience,
    heard: Heard,
    closing: Sequence[bytes],
) -> Generator[Step, Any, None]:
    committed: set[Xid] = set()
    withdrawals = locks.withdraw_keys(standing.schema, records)
    whole = conflicts.keeps_gaps(standing, records)
    check = [locks.stop_at_conflict(standing.schema)] if whole else []
    while True:
        question = locks.probe_keys(standing.schema, records, committed, whole=whole)
        arrived = yield from heard.run(standing, [question, *check, *withdrawals, *closing], switch_back=True)
        error = arrived.error
        if error is None:
            return
        if error.code not in locks.LOCK_CONFLICT_ERRORS:
            raise failed(error)
        holder = yield from conflicts.holder_of(standing)
        if holder is None:
            raise ServerError(error)
        yield from conflicts.pass_by(holder, committed, patience)
