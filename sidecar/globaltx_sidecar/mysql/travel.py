"""How a change gets to the server: its image and the statement, in one train where that is possible.

What is answered by rows (RETURNING) tells neither how many rows it changed nor the key that was
generated, as an OK does: the rows are counted, and the key is asked for right behind it, by a SELECT
that leaves warnings and ``ROW_COUNT()`` (-1 after any rows) as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.undo import plan, refusal
from globaltx.undo.forms import Joined, Update
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.aftermath import Heard
from globaltx_sidecar.mysql.packets import Ok, PacketError, read_lenenc_bytes
from globaltx_sidecar.mysql.steps import ask, end_of, roll_back, run, settle_status
from globaltx_sidecar.mysql.trains import Arrival, Train, single

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.undo.plan import ImagePlan, JoinPlan, MovePlan, Plan
    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.steps import Step

_LAST_INSERT_ID: Final = b"SELECT LAST_INSERT_ID()"


def returns_rows(change: Change) -> bool:
    """Whether a change is answered by rows."""
    return not isinstance(change, Update | Joined) and change.returning is not None


@dataclass(frozen=True, slots=True)
class Trip:
    """A change on its way to the server; ``apart``: the statement follows the answer to the image.

    ``returning``: it is answered by rows; ``execute`` then is the client's own packets, if it was prepared.
    """

    sql: bytes
    planned: Plan
    apart: bool = False
    returning: bool = False
    execute: bytes | None = None

    @property
    def image(self) -> tuple[bytes, ...]:
        """What must be asked right before the statement."""
        return () if self.planned.image is None else (self.planned.image,)

    @property
    def asks_key(self) -> bool:
        """Whether the statement's own answer does not tell the key that it generated."""
        planned = self.planned
        if not isinstance(planned, plan.InsertPlan | plan.UpsertPlan):
            return False
        return self.returning and planned.generates


@dataclass(frozen=True, slots=True)
class Landed:
    """What came back: the rows of the image, and the statement's own answer."""

    images: Sequence[Result]
    answer: Result
    ok: Ok
    insert_id: int = field(default=0)

    def heard(self) -> Heard:
        """Listen for its warnings."""
        return Heard(self.ok, returned_rows=bool(self.answer.columns))

    def counts(self, *, session_track: bool) -> plan.Ok:
        """The numbers that undo records are made of."""
        if not self.answer.columns:
            info = _info(self.ok, session_track=session_track)
            return plan.Ok(self.ok.affected_rows, self.ok.insert_id, info)
        return plan.Ok(self.answer.row_count, self.insert_id)


def travel(standing: Standing, trip: Trip, opening: Sequence[bytes]) -> Generator[Step, Any, Landed]:
    """Run image and statement, behind what opens the local transaction.

    Raises:
        ServerError: the answer to one of them; the local transaction stands as the server has left it.
        RefusedError: it cannot be undone; the local transaction was rolled back if ``opening`` opened it.
    """
    if trip.execute is not None:
        arrived = yield from _executed(standing, trip, trip.execute, opening)
    elif trip.apart and not isinstance(trip.planned, plan.InsertPlan | plan.UpsertPlan):
        arrived = yield from _apart(standing, trip, trip.planned, opening)
    else:
        behind = [_LAST_INSERT_ID] if trip.asks_key else []
        statements = [*opening, *trip.image, trip.sql, *behind]
        arrived = yield from run(standing, statements, verbatim=trip.returning)
    end_of(arrived)
    results, insert_id = list(arrived.results), 0
    if trip.asks_key:
        insert_id = int(results.pop().text_rows()[0][0] or 0)
    answer = results[-1]
    ok = end_of(Arrival(results))
    return Landed(results[len(opening) : -1], answer, ok, insert_id)


def _apart(
    standing: Standing, trip: Trip, planned: ImagePlan | MovePlan | JoinPlan, opening: Sequence[bytes]
) -> Generator[Step, Any, Arrival]:
    """Tell the statement which rows the image has found."""
    found = yield from run(standing, [*opening, planned.image])
    end_of(found)
    try:
        check_images(found.results[len(opening) :])
        statement = planned.narrowed(found.results[-1].rows)
    except refusal.RowsMissedError as error:
        yield from roll_back(standing)
        raise errors.give_way(str(error)) from error
    except (errors.RefusedError, refusal.RefusedError):
        if opening:
            yield from roll_back(standing)
        raise
    done = yield from run(standing, [statement], verbatim=trip.returning)
    return Arrival([*found.results, *done.results])


def _executed(
    standing: Standing, trip: Trip, execute: bytes, opening: Sequence[bytes]
) -> Generator[Step, Any, Arrival]:
    """Execute the application's own prepared statement, whose rows are binary: it travels alone."""
    results: list[Result] = []
    before = [*opening, *trip.image]
    if before:
        found = yield from run(standing, before)
        end_of(found)
        results += found.results
    done = yield from ask(standing, Train(execute, 1, verbatim=True))
    results += done.results
    if trip.asks_key and done.error is None:
        results += (yield from ask(standing, single(_LAST_INSERT_ID))).results
    yield from settle_status(standing)
    return Arrival(results)


def unplanned(
    standing: Standing, sql: bytes, *, returning: bool, execute: bytes | None
) -> Generator[Step, Any, tuple[bytes, ...]]:
    """Run a change of which nothing need be known; give its answer.

    Raises:
        ServerError: that is an error.
    """
    if execute is None:
        arrived = yield from run(standing, [sql], verbatim=returning)
    else:
        arrived = yield from ask(standing, Train(execute, 1, verbatim=True))
        yield from settle_status(standing)
    end_of(arrived)
    return arrived.results[-1].answer()


def check_images(images: Sequence[Result]) -> None:
    """Refuse images that were too large to be kept.

    Raises:
        RefusedError: one was.
    """
    if any(result.overflowed for result in images):
        what = "it changes more rows than can be kept for the undo (change them in portions)"
        raise not_undoable(what)


def not_undoable(what: str) -> errors.RefusedError:
    """The refusal of a statement that has run, and must not stay."""
    details = f"the statement cannot be undone automatically: {what}"
    return errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def _info(ok: Ok, *, session_track: bool) -> bytes:
    """Find the text in an OK ("Rows matched: ...").

    Servers send its length first even where the protocol's pages have the text alone; a length of 48
    to 57 looks like a digit of it.
    """
    try:
        return read_lenenc_bytes(ok.tail, 0)[0] if ok.tail else b""
    except PacketError:
        return b"" if session_track else ok.tail
