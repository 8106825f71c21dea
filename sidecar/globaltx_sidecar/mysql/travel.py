"""How a change gets to the server: its image and the statement, in one train where that is possible.

What is answered by rows (RETURNING) tells neither how many rows it changed nor the key that was
generated, as an OK does: the rows are counted, and the key is asked for right behind it, by a SELECT
that leaves warnings and ``ROW_COUNT()`` (-1 after any rows) as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.undo import plan, refusal
from globaltx.undo.forms import Joined, Update
from globaltx.values import dataclass, replace
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.aftermath import WARNINGS, Heard
from globaltx_sidecar.mysql.packets import Ok, PacketError, read_lenenc_bytes
from globaltx_sidecar.mysql.steps import ask, end_of, roll_back, run, settle_status
from globaltx_sidecar.mysql.trains import Arrival, Train

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.undo.plan import ImagePlan, JoinPlan, MovePlan, Plan, SelectedPlan
    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.replies import Result, Row
    from globaltx_sidecar.mysql.steps import Step

_WITHOUT_ROWS: Final = (Update, Joined)
_MAY_GENERATE: Final = (plan.InsertPlan, plan.UpsertPlan)
_LAST_INSERT_ID: Final = b"SELECT LAST_INSERT_ID()"


def returns_rows(change: Change) -> bool:
    """Whether a change is answered by rows."""
    return not isinstance(change, _WITHOUT_ROWS) and change.returning is not None


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
    def behind(self) -> tuple[bytes, ...]:
        """What must be asked right behind the statement, because its own answer does not tell the keys.

        A question that reads tables ends the statement's warnings: they are asked for before it.
        """
        planned = self.planned
        if isinstance(planned, plan.GeneratedPlan):
            return (WARNINGS, planned.behind)
        if self.returning and isinstance(planned, _MAY_GENERATE) and planned.generates:
            return (_LAST_INSERT_ID,)
        return ()

    @property
    def verbatim(self) -> bool:
        """Whether packets must be kept as they come."""
        return self.returning or isinstance(self.planned, plan.GeneratedPlan)


@dataclass(frozen=True, slots=True)
class Landed:
    """What came back: the image, the statement's own answer, and what was asked behind it.

    ``planned`` is what was planned in the end. ``warned``: the warnings were asked for first behind it.
    """

    planned: Plan
    images: Sequence[Result]
    answer: Result
    ok: Ok
    behind: Sequence[Result] = ()
    warned: bool = False

    @property
    def rows(self) -> list[Row]:
        """The rows that undo records are made of."""
        found = [row for result in self.images for row in result.text_rows()]
        return found + self.behind[-1].text_rows() if self.covered else found

    @property
    def covered(self) -> bool:
        """Whether the server would now tell of another statement than this one."""
        return isinstance(self.planned, plan.GeneratedPlan)

    def heard(self) -> Heard:
        """Listen for its warnings."""
        heard = Heard(self.ok, returned_rows=bool(self.answer.columns))
        if self.covered or self.warned:
            heard.keep(self.behind[0])
        return heard

    def counts(self, *, session_track: bool) -> plan.Ok:
        """The numbers that undo records are made of."""
        if not self.answer.columns:
            info = _info(self.ok, session_track=session_track)
            return plan.Ok(self.ok.affected_rows, self.ok.insert_id, info)
        asked = self.behind[0].text_rows() if self.behind and not self.covered else []
        return plan.Ok(self.answer.row_count, int(asked[0][0] or 0) if asked else 0)


def travel(standing: Standing, trip: Trip, opening: Sequence[bytes]) -> Generator[Step, Any, Landed]:
    """Run image and statement, behind what opens the local transaction.

    Raises:
        ServerError: the answer to one of them; the local transaction stands as the server has left it.
        RefusedError: it cannot be undone; the local transaction was rolled back if ``opening`` opened it.
    """
    if isinstance(trip.planned, plan.SelectedPlan) and trip.planned.meets:
        return (yield from _asked_first(standing, trip, trip.planned, opening))
    if trip.execute is not None:
        arrived = yield from _executed(standing, trip, trip.execute, opening)
    elif trip.apart and isinstance(trip.planned, plan.ImagePlan | plan.MovePlan | plan.JoinPlan):
        arrived = yield from _apart(standing, trip, trip.planned, opening)
    else:
        statements = [*opening, *trip.image, trip.sql, *trip.behind]
        arrived = yield from run(standing, statements, verbatim=trip.verbatim)
    end_of(arrived)
    place = len(arrived.results) - 1 - len(trip.behind)
    ok = end_of(Arrival(arrived.results[: place + 1]))
    images, behind = arrived.results[len(opening) : place], arrived.results[place + 1 :]
    return Landed(trip.planned, images, arrived.results[place], ok, behind)


def _asked_first(
    standing: Standing, trip: Trip, planned: SelectedPlan, opening: Sequence[bytes]
) -> Generator[Step, Any, Landed]:
    """Ask which keys the new rows will have; then the rows that they will meet can be looked for."""
    found = yield from run(standing, [*opening, planned.image])
    end_of(found)
    try:
        check_images(found.results[len(opening) :])
        upsert = planned.upsert(found.results[-1].rows)
    except (errors.RefusedError, refusal.RefusedError):
        if opening:
            yield from roll_back(standing)
        raise
    return (yield from travel(standing, replace(trip, planned=upsert), ()))


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
    if trip.behind and done.error is None:
        results += (yield from run(standing, trip.behind, verbatim=True)).results
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
