"""What came back of a change, looked at and made into undo records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.undo import refusal
from globaltx.undo.ledger import Ledger
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.packets import Status
from globaltx_sidecar.mysql.steps import roll_back
from globaltx_sidecar.mysql.travel import check_images, not_undoable

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.undo.plan import UndoRecord
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.steps import Step
    from globaltx_sidecar.mysql.travel import Landed, Trip

_FOLLOWS: Final = int(Status.MORE_RESULTS_EXISTS)


def records_of(
    standing: Standing, trip: Trip, landed: Landed
) -> Generator[Step, Any, tuple[UndoRecord, ...]]:
    """Make undo records of what came back.

    A statement that has run and cannot be undone must not stay: the local transaction is rolled back.

    Raises:
        RefusedError: it was.
    """
    try:
        _check(trip, landed)
        records = landed.planned.records(landed.rows, landed.counts(session_track=standing.session_track))
        ledger = Ledger() if standing.local is None else standing.local.ledger
        ledger.check(records, standing.rows_max)
    except refusal.RowsMissedError as error:
        yield from roll_back(standing)
        raise errors.give_way(str(error)) from error
    except (errors.RefusedError, refusal.RefusedError):
        yield from roll_back(standing)
        raise
    return records


def _check(trip: Trip, landed: Landed) -> None:
    """Refuse what came back otherwise than planned."""
    answer = landed.answer
    follows = landed.ok.status & _FOLLOWS and not landed.behind
    if len(landed.images) != (landed.planned.image is not None) or follows:
        what = "it gave more than one result; the local transaction was rolled back"
        raise not_undoable(what)
    if bool(answer.columns) != trip.returning:
        what = "it returned other rows than it says; the local transaction was rolled back"
        raise not_undoable(what)
    if answer.overflowed:
        what = "it returns more rows than can be kept until they are known to stay (return them in portions)"
        raise not_undoable(what)
    check_images([*landed.images, *landed.behind])
