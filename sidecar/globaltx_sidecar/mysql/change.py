"""Phase one of one change: its image before it, the statement itself, its undo records.

In a local transaction of the application the records join the ledger and wait for its COMMIT.
In autocommit the sidecar opens a local transaction for the statement and commits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.undo import join, plan, refusal
from globaltx.undo.forms import Answers, Joined
from globaltx.undo.ledger import Ledger
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx_sidecar.commands import Describe, Register
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.aftermath import Heard, roll_back_failed
from globaltx_sidecar.mysql.local import LocalTransaction
from globaltx_sidecar.mysql.local_commit import commit
from globaltx_sidecar.mysql.packets import Err, Ok, PacketError, Status, read_lenenc_bytes
from globaltx_sidecar.mysql.patience import Patience
from globaltx_sidecar.mysql.respect import respect
from globaltx_sidecar.mysql.steps import COMMIT, Answer, ServerError, ask, end_of, roll_back, run
from globaltx_sidecar.mysql.trains import Arrival, single

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.forms import Table
    from globaltx.undo.literal import Value
    from globaltx.undo.plan import Plan, UndoRecord
    from globaltx.undo.shape import TableShape
    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.steps import Step, Work

_BEGIN: Final = (b"BEGIN",)
_GUARDED_BEGIN: Final = (b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", b"BEGIN")
_ISOLATION: Final = b"SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
_ASSIGNS_VARIABLES: Final = b":="
"""Such a statement does not mean the same a second time."""
_LOCK_GAPS: Final = frozenset({b"REPEATABLE-READ", b"SERIALIZABLE"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change that the application asks for; ``sql`` as the server is to get it.

    ``xid`` None: it takes part in no global transaction, and is only to respect the locks of others.
    """

    xid: Xid | None
    change: Change
    sql: bytes
    settings: Settings
    parameters: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Trip:
    """A change on its way to the server; ``apart``: the statement follows the answer to the image."""

    sql: bytes
    planned: Plan
    apart: bool


def carry_out(standing: Standing, wanted: Wanted) -> Work:
    """Carry a change out and answer the application; raises as `changed`."""
    ok = yield from changed(standing, wanted)
    yield Answer(ok.encode())


def changed(standing: Standing, wanted: Wanted) -> Generator[Step, Any, Ok]:
    """Carry a change out; return the statement's own answer.

    Raises:
        RefusedError, ServerError: the answer instead; in a local transaction of the
            application it still stands, unless the error is one that ends it.
    """
    planned = yield from _plan(standing, wanted)
    own = planned.statement if isinstance(planned, plan.InsertPlan) else None
    trip = Trip(own or wanted.sql, planned, apart=(yield from _runs_apart(standing, planned)))
    if wanted.xid is not None:
        pin(standing, wanted.xid)
        yield Register(wanted.xid)
    if standing.local is not None:
        return (yield from _in_local_transaction(standing, trip, standing.local))
    if not standing.autocommits:
        return (yield from _respectfully(standing, trip))
    return (yield from _in_autocommit(standing, wanted.xid, trip))


def pin(standing: Standing, xid: Xid) -> None:
    """Bind the open local transaction, if there is one, to the xid.

    Raises:
        RefusedError: it belongs to another, or has written without one.
    """
    local = standing.local
    if local is not None and local.xid != xid:
        details = f"the open local transaction belongs to {local.xid}, the statement names {xid}"
        raise errors.mixed(details)
    if local is None and not standing.autocommits:
        if standing.wrote_unhinted:
            details = f"the open local transaction has written without an xid before {xid} came"
            raise errors.mixed(details)
        standing.local = LocalTransaction(xid)


def _plan(standing: Standing, wanted: Wanted) -> Generator[Step, Any, Plan]:
    """Plan the change; a column that the remembered shape lacks may have come since."""
    try:
        return (yield from _plan_once(standing, wanted, fresh=False))
    except NoSuchColumnError:
        pass
    try:
        return (yield from _plan_once(standing, wanted, fresh=True))
    except NoSuchColumnError as error:
        raise ServerError(Err(1054, "42S22", f"globaltx: {error}")) from error


def _plan_once(standing: Standing, wanted: Wanted, *, fresh: bool) -> Generator[Step, Any, Plan]:
    change, mode = wanted.change, wanted.settings.mode
    if not isinstance(change, Joined):
        shape = yield from _shape(standing, wanted, change.table, fresh=fresh)
        return plan.make_plan(change, shape, mode, wanted.parameters)
    shapes = {}
    for each in join.described(change):
        shapes[each] = yield from _shape(standing, wanted, each.table, fresh=fresh)
    return join.make(change, shapes, mode, wanted.parameters)


def _shape(
    standing: Standing, wanted: Wanted, table: Table, *, fresh: bool
) -> Generator[Step, Any, TableShape]:
    return (yield from shape_of(standing, table, wanted.settings, fresh=fresh))


def shape_of(
    standing: Standing, table: Table, settings: Settings, *, fresh: bool = False
) -> Generator[Step, Any, TableShape]:
    """Read the shape of a table that a statement names.

    Raises:
        RefusedError: it cannot be read, or is none of the datasource's.
        ServerError: no schema is chosen.
    """
    schema = table.schema or settings.schema
    if schema is None:
        raise ServerError(errors.NO_DATABASE_SELECTED)
    if schema.casefold() == standing.schema.casefold():
        try:
            shape: TableShape = yield Describe(schema, table.name, fresh)
        except NoSuchTableError as error:
            raise errors.no_such_table(schema, table.name) from error
        except (OSError, StoreError) as error:
            raise errors.refuse(Reason.DATASOURCE_UNAVAILABLE, str(error)) from error
        if shape.schema == standing.schema:
            return shape
    details = (
        f"table {schema}.{table.name} is outside of the schema {standing.schema} that the datasource"
        f" {standing.resource} covers; change it through a datasource of its own"
    )
    raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def _in_local_transaction(
    standing: Standing, trip: Trip, local: LocalTransaction
) -> Generator[Step, Any, Ok]:
    arrived = yield from _travel(standing, trip, ())
    ok = end_of(arrived)
    records = yield from _records(standing, trip.planned, arrived, 0)
    if standing.local is not local:
        details = "the local transaction ended while the statement ran"
        raise errors.give_way(details)
    local.ledger.add(records)
    return ok.with_status(clear=Status.MORE_RESULTS_EXISTS)


def _respectfully(standing: Standing, trip: Trip) -> Generator[Step, Any, Ok]:
    """Change rows in a local transaction of the application that has no xid."""
    standing.wrote_unhinted = True
    arrived = yield from _travel(standing, trip, ())
    ok = end_of(arrived)
    records = yield from _records(standing, trip.planned, arrived, 0)
    heard = Heard(ok)
    yield from respect(standing, records, Patience(standing.lock_wait_seconds), heard)
    heard.remember(standing)
    return ok.with_status(clear=Status.MORE_RESULTS_EXISTS)


def _runs_apart(standing: Standing, planned: Plan) -> Generator[Step, Any, bool]:
    """Whether the statement must be told which rows the image has found, because it might find others.

    Raises:
        RefusedError: that would not help, and it might.
    """
    if planned.answers is Answers.ONCE:
        return True
    if standing.autocommits or not (planned.guards_gaps or planned.answers is Answers.TABLES):
        return False
    locks_gaps = yield from _locks_gaps(standing)
    if planned.guards_gaps and not locks_gaps:
        details = (
            "INSERT IGNORE, ON DUPLICATE KEY UPDATE and REPLACE cannot be undone automatically in this local"
            " transaction, whose isolation level is not known to lock gaps; use REPEATABLE READ, set for the"
            " session, or send the statement in autocommit"
        )
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    return not locks_gaps


def _locks_gaps(standing: Standing) -> Generator[Step, Any, bool]:
    """Whether no other session can put a row between the image and the statement."""
    if standing.local is not None and standing.local.locks_gaps is not None:
        return standing.local.locks_gaps
    arrived = yield from ask(standing, single(_ISOLATION))
    end_of(arrived)
    levels = {row[1] for row in arrived.results[-1].rows}
    locks_gaps = bool(levels) and levels <= _LOCK_GAPS and not standing.isolation_doubtful
    if standing.local is not None:
        standing.local.locks_gaps = locks_gaps
    return locks_gaps


def _in_autocommit(standing: Standing, xid: Xid | None, trip: Trip) -> Generator[Step, Any, Ok]:
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


def _attempt(standing: Standing, xid: Xid | None, trip: Trip, patience: Patience) -> Generator[Step, Any, Ok]:
    """Two trips: {BEGIN; image; statement}, then {undo records, or the question for others'; COMMIT}."""
    guarded = trip.planned.guards_gaps or (trip.planned.answers is Answers.TABLES)
    opening = _GUARDED_BEGIN if guarded else _BEGIN
    arrived = yield from _travel(standing, trip, opening)
    try:
        ok = end_of(arrived)
    except ServerError:
        yield from roll_back_failed(standing)
        raise
    records = yield from _records(standing, trip.planned, arrived, len(opening))
    heard = Heard(ok)
    if records and xid is None:
        yield from respect(standing, records, patience, heard, (COMMIT,))
    elif records and xid is not None:
        yield from commit(standing, xid, records, COMMIT, patience, heard)
    else:
        end_of((yield from heard.run(standing, [COMMIT])))
        standing.ended()
    heard.remember(standing)
    return ok.with_status(clear=Status.MORE_RESULTS_EXISTS | Status.IN_TRANS)


def _travel(standing: Standing, trip: Trip, opening: Sequence[bytes]) -> Generator[Step, Any, Arrival]:
    """Run image and statement, behind what opens the local transaction; what came back, in order."""
    planned = trip.planned
    if not trip.apart or isinstance(planned, plan.InsertPlan | plan.UpsertPlan):
        return (yield from run(standing, [*opening, *_image(planned), trip.sql]))
    found = yield from run(standing, [*opening, planned.image])
    if found.error is not None:
        return found
    try:
        _check_images(found.results[len(opening) :])
        statement = planned.narrowed(found.results[-1].rows)
    except refusal.RowsMissedError as error:
        yield from roll_back(standing)
        raise errors.give_way(str(error)) from error
    except (errors.RefusedError, refusal.RefusedError):
        if opening:
            yield from roll_back(standing)
        raise
    done = yield from run(standing, [statement])
    return Arrival([*found.results, *done.results])


def _image(planned: Plan) -> tuple[bytes, ...]:
    return () if planned.image is None else (planned.image,)


def _records(
    standing: Standing, planned: Plan, arrived: Arrival, before: int
) -> Generator[Step, Any, tuple[UndoRecord, ...]]:
    """Make undo records of what came back; ``before`` results stand before image and statement.

    A statement that has run and cannot be undone must not stay: the local transaction is rolled back.
    """
    images = arrived.results[before:-1]
    ok = end_of(arrived)
    try:
        _check(arrived, ok, images, planned)
        info = _info(ok, session_track=standing.session_track)
        rows = images[0].rows if images else []
        records = planned.records(rows, plan.Ok(ok.affected_rows, ok.insert_id, info))
        ledger = Ledger() if standing.local is None else standing.local.ledger
        ledger.check(records, standing.rows_max)
    except refusal.RowsMissedError as error:
        yield from roll_back(standing)
        raise errors.give_way(str(error)) from error
    except (errors.RefusedError, refusal.RefusedError):
        yield from roll_back(standing)
        raise
    return records


def _check(arrived: Arrival, ok: Ok, images: Sequence[Result], planned: Plan) -> None:
    """Refuse what came back otherwise than planned."""
    if len(images) != len(_image(planned)) or ok.status & Status.MORE_RESULTS_EXISTS:
        what = "it gave more than one result; the local transaction was rolled back"
        raise _not_undoable(what)
    if arrived.results[-1].columns:
        what = "it returned rows; the local transaction was rolled back"
        raise _not_undoable(what)
    _check_images(images)


def _check_images(images: Sequence[Result]) -> None:
    if any(result.overflowed for result in images):
        what = "it changes more rows than can be kept for the undo (change them in portions)"
        raise _not_undoable(what)


def _not_undoable(what: str) -> errors.RefusedError:
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
