"""A change in autocommit: the sidecar opens a local transaction for it, and commits that.

It takes two trips: {BEGIN; image; statement}, then {undo records; COMMIT}. Where the application has
joined already, and the undo records can be written before the statement runs (`globaltx.undo.ahead`),
all of it is one packet. That stops at its first error, so nothing commits behind one. What stops at the
undo records (another transaction's lock, a row that was not there) stands where two trips would stand
between them, and goes on as they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from globaltx.undo import locks
from globaltx.undo.ahead import Ahead, ahead
from globaltx.undo.forms import Answers
from globaltx.undo.record import matched_rows
from globaltx.undo.values import NOTED
from globaltx.values import replace
from globaltx_sidecar.commands import Committed, HasJoined
from globaltx_sidecar.mysql import conflicts, errors
from globaltx_sidecar.mysql.aftermath import WARNINGS, roll_back_failed
from globaltx_sidecar.mysql.keeping import records_of
from globaltx_sidecar.mysql.local_commit import commit, failed
from globaltx_sidecar.mysql.packets import PacketError
from globaltx_sidecar.mysql.patience import Patience
from globaltx_sidecar.mysql.replies import Result
from globaltx_sidecar.mysql.respect import respect
from globaltx_sidecar.mysql.steps import COMMIT, ServerError, ask, end_of, only_row, roll_back, run
from globaltx_sidecar.mysql.trains import SEPARATOR, Arrival, single
from globaltx_sidecar.mysql.travel import Landed, travel

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.mysql.aftermath import Heard
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.packets import Err
    from globaltx_sidecar.mysql.steps import Step
    from globaltx_sidecar.mysql.travel import Trip

Came = TypeVar("Came")
_BEGIN: Final = (b"BEGIN",)
_GUARDED_BEGIN: Final = (b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", b"BEGIN")
_NOTING_BEGIN: Final = (locks.NOTHING_NOTED, b"BEGIN")
_ASSIGNS_VARIABLES: Final = b":="
"""Such a statement does not mean the same a second time."""
_AT_ONCE_BYTES_MAX: Final = 1024 * 1024
"""A statement and its undo records that are larger go in two packets, each of which the server must take."""


def in_autocommit(standing: Standing, xid: Xid | None, trip: Trip) -> Generator[Step, Any, Result]:
    """One attempt, or several: whoever gives way here has shown nothing to anybody, and can begin anew.

    Raises:
        RefusedError, ServerError: it was rolled back.
    """
    patience = Patience(standing.lock_wait_seconds)
    while True:
        try:
            return (yield from _attempt(standing, xid, trip, patience))
        except (errors.RefusedError, ServerError) as error:
            gave_way = error.error.code == errors.GIVE_WAY_CODE and _ASSIGNS_VARIABLES not in trip.sql
            if not gave_way or not (yield from patience.lasts()):
                raise


def _attempt(
    standing: Standing, xid: Xid | None, trip: Trip, patience: Patience
) -> Generator[Step, Any, Result]:
    before = yield from _known(standing, xid, trip)
    committed = False
    if xid is None or before is None:
        landed = yield from _begun(standing, travel(standing, trip, _opening(trip)))
    else:
        landed, error = yield from _begun(standing, _at_once(standing, xid, trip, before))
        committed = yield from _committed(standing, error)
    heard = landed.heard()
    if not committed:
        if before is not None and before.image is not None:
            landed = yield from _with_image(standing, landed)
        yield from _commit(standing, xid, trip, landed, patience, heard)
    heard.remember(standing)
    return landed.answer


def _opening(trip: Trip) -> tuple[bytes, ...]:
    guarded = trip.planned.guards_gaps or (trip.planned.answers is Answers.TABLES)
    return _GUARDED_BEGIN if guarded else _BEGIN


def _begun(standing: Standing, way: Generator[Step, Any, Came]) -> Generator[Step, Any, Came]:
    """Go a way that begins with BEGIN, and take that back where the statement fails."""
    try:
        return (yield from way)
    except ServerError:
        yield from roll_back_failed(standing)
        raise


def _known(standing: Standing, xid: Xid | None, trip: Trip) -> Generator[Step, Any, Ahead | None]:
    """Give the undo records, if all may go in one packet; None: the statement's answer must be seen first."""
    fits = SEPARATOR not in trip.sql and len(trip.sql) <= _AT_ONCE_BYTES_MAX
    if xid is None or not fits or trip.apart or trip.returning:
        return None
    before = ahead(trip.planned)
    if before is None or len(before.records) > standing.rows_max:
        return None
    if conflicts.keeps_gaps(standing, before.records) or not (yield HasJoined(xid)):
        return None
    return before


def _at_once(
    standing: Standing, xid: Xid, trip: Trip, before: Ahead
) -> Generator[Step, Any, tuple[Landed, Err | None]]:
    """Send all of it; give what came of the statement, and the error that stopped what is behind it.

    Raises:
        ServerError: the answer to the statement; the local transaction stands as the server has left it.
        PacketError: not all of it was answered; nobody knows how it stands.
    """
    opening = _BEGIN if before.image is None else (*_NOTING_BEGIN, before.image)
    insert = locks.undo_insert(standing.schema, xid, before.records, ahead=True)
    statements = [*opening, trip.sql, WARNINGS, insert, COMMIT]
    arrived = yield from run(standing, statements, switch_back=True, verbatim=True)
    if arrived.error is None and len(arrived.results) != len(statements):
        message = f"{len(statements)} statements were answered by {len(arrived.results)} results"
        raise PacketError(message)
    answer, *behind = arrived.results[len(opening) :] or arrived.results[-1:]
    landed = Landed(trip.planned, (), answer, end_of(Arrival([answer])), behind, warned=True)
    return landed, arrived.error


def _committed(standing: Standing, error: Err | None) -> Generator[Step, Any, bool]:
    """Whether all of it was; False: there was something in the way of the undo records.

    Raises:
        RefusedError, ServerError: it was rolled back.
    """
    if error is None:
        yield Committed(0.0)
    elif error.code not in locks.LOCK_CONFLICT_ERRORS:
        yield from roll_back(standing)
        raise failed(error)
    return error is None


def _with_image(standing: Standing, landed: Landed) -> Generator[Step, Any, Landed]:
    """Fetch the image that the server has noted; none is needed where the statement has met no row."""
    image = Result(landed.ok)
    if matched_rows(landed.counts(session_track=standing.session_track)):
        arrived = yield from ask(standing, single(locks.NOTED_QUERY))
        end_of(arrived)
        row = only_row(arrived, columns=len(NOTED))
        image.rows += [] if row[0] is None else [row]
    return replace(landed, images=(image,))


def _commit(
    standing: Standing, xid: Xid | None, trip: Trip, landed: Landed, patience: Patience, heard: Heard
) -> Generator[Step, Any, None]:
    """Write the undo records, or ask for others', and commit.

    Raises:
        RefusedError, ServerError: it was rolled back.
    """
    records = yield from records_of(standing, trip, landed)
    if records and xid is None:
        yield from respect(standing, records, patience, heard, (COMMIT,))
    elif records and xid is not None:
        yield from commit(standing, xid, records, COMMIT, patience, heard)
    else:
        end_of((yield from heard.run(standing, [COMMIT], switch_back=True)))
        standing.ended()
