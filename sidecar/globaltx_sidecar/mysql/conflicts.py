"""Another global transaction's lock: who holds it, what became of them, and how long to wait.

- Commit: the holder's record is only waiting to be swept;
- Rollback: what we built on is about to be undone, and the holder's restoring waits for our row
  lock: give way (1213);
- undecided: try again until patience ends (1205).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.transaction.states import Outcome
from globaltx.undo import locks
from globaltx.undo.record import refuse_too_large
from globaltx.undo.values import TOO_LARGE
from globaltx_sidecar.commands import LookUp
from globaltx_sidecar.mysql import errors, trains
from globaltx_sidecar.mysql.steps import ask, end_of, only_row

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.plan import UndoRecord
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.patience import Patience
    from globaltx_sidecar.mysql.steps import Step


def keeps_gaps(standing: Standing, records: Sequence[UndoRecord]) -> bool:
    """Whether the server may keep locks on gaps after an INSERT of these records that fails at one of them.

    MySQL does under REPEATABLE READ, and nearly all newer xids belong into one of them.
    """
    return not standing.mariadb and len(records) > 1


def holder_of(standing: Standing) -> Generator[Step, Any, Xid | None]:
    """Ask who holds the row that the last INSERT has met; None: nobody.

    Raises:
        RefusedError: that was not what has stopped it, but a row that is too large.
    """
    arrived = yield from ask(standing, trains.single(locks.HOLDER_QUERY))
    end_of(arrived)
    held_by = only_row(arrived, columns=2)[0]
    if held_by == TOO_LARGE.encode():
        refuse_too_large("a row")
    return locks.holder(held_by)


def pass_by(holder: Xid, committed: set[Xid], patience: Patience) -> Generator[Step, Any, None]:
    """Add the holder to ``committed`` if it has; else wait a little.

    A store that does not answer, or does not know the holder, says nothing about it.

    Raises:
        RefusedError: it is rolling back (1213), or patience has ended (1205).
    """
    if holder not in committed and (yield from _has_committed(holder)):
        committed.add(holder)
    else:
        yield from wait_for(holder, patience)


def wait_for(holder: Xid, patience: Patience) -> Generator[Step, Any, None]:
    """Wait a little.

    Raises:
        RefusedError: patience has ended (1205).
    """
    if not (yield from patience.lasts()):
        raise errors.lock_timeout(holder, patience.waited_seconds)


def _has_committed(holder: Xid) -> Generator[Step, Any, bool]:
    try:
        decision = yield LookUp(holder)
    except (StoreError, TimeoutError):
        return False
    if decision is None:
        return False
    if decision.outcome is Outcome.ROLLBACK:
        raise RollingBackError(holder)
    return True


class RollingBackError(errors.RefusedError):
    """The holder of a row is restoring it (1213)."""

    def __init__(self, holder: Xid) -> None:
        refused = errors.give_way(f"global transaction {holder} is restoring a row that this one needs")
        super().__init__(refused.reason, refused.error)
        self.holder = holder


def no_longer(xid: Xid) -> errors.RefusedError:
    """A rollback has shut this transaction's local commits out."""
    details = f"global transaction {xid} was rolled back before this local commit"
    return errors.refuse(Reason.ALREADY_DECIDED, details)
