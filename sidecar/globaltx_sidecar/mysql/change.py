"""Phase one of one change: its image before it, the statement itself, its undo records.

In a local transaction of the application the records join the ledger and wait for its COMMIT.
In autocommit the sidecar opens a local transaction for the statement and commits it (`autocommit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.undo import join, plan, refusal
from globaltx.undo.forms import Answers, Joined
from globaltx.undo.shape import NoSuchColumnError, NoSuchTableError
from globaltx.values import dataclass
from globaltx_sidecar.commands import Describe, Register
from globaltx_sidecar.mysql import errors, names
from globaltx_sidecar.mysql.autocommit import in_autocommit
from globaltx_sidecar.mysql.keeping import records_of
from globaltx_sidecar.mysql.local import LocalTransaction
from globaltx_sidecar.mysql.packets import Err, Status
from globaltx_sidecar.mysql.patience import Patience
from globaltx_sidecar.mysql.respect import respect
from globaltx_sidecar.mysql.steps import Relay, ServerError, ask, end_of, narrow
from globaltx_sidecar.mysql.trains import single
from globaltx_sidecar.mysql.travel import Trip, returns_rows, travel

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.forms import Table
    from globaltx.undo.literal import Value
    from globaltx.undo.plan import Plan
    from globaltx.undo.shape import TableShape
    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.steps import Step, Work

_IN_TRANS: Final = int(Status.IN_TRANS)
_FOLLOWS: Final = int(Status.MORE_RESULTS_EXISTS)
_ISOLATION: Final = b"SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')"
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
    execute: bytes | None = None
    """The packets of a prepared statement that is answered by rows: they must be binary ones."""


def carry_out(standing: Standing, wanted: Wanted) -> Work:
    """Carry a change out and answer the application; raises as `changed`."""
    yield Relay((yield from changed(standing, wanted)))


def changed(
    standing: Standing, wanted: Wanted, *, more: bool = False
) -> Generator[Step, Any, tuple[bytes, ...]]:
    """Carry a change out; return the packets of the statement's own answer.

    ``more``: they are to say that another result follows.

    Raises:
        RefusedError, ServerError: the answer instead; in a local transaction of the
            application it still stands, unless the error is one that ends it.
    """
    planned = yield from _plan(standing, wanted)
    own = planned.statement if isinstance(planned, plan.InsertPlan) else None
    apart = yield from _runs_apart(standing, planned)
    if wanted.execute is not None and (own or apart):
        raise _rows_of_another_text()
    trip = Trip(own or wanted.sql, planned, apart, returns_rows(wanted.change), wanted.execute)
    if wanted.xid is not None:
        pin(standing, wanted.xid)
        yield Register(wanted.xid)
    ended = 0
    if standing.local is not None:
        answer = yield from _in_local_transaction(standing, trip, standing.local)
    elif not standing.autocommits:
        answer = yield from _respectfully(standing, trip)
    else:
        answer = yield from in_autocommit(standing, wanted.xid, trip)
        ended = _IN_TRANS
    return answer.answer(clear=ended | (0 if more else _FOLLOWS), set_=_FOLLOWS if more else 0)


def _rows_of_another_text() -> errors.RefusedError:
    details = (
        "a prepared statement with RETURNING whose key is computed, or whose rows may be others each time,"
        " cannot be undone automatically; send it as text, or give the key"
    )
    return errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


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
    shape = yield from shape_of(standing, table, wanted.settings, fresh=fresh)
    if (yield from names.is_temporary(standing, shape.schema, shape.name)):
        what = f"a change of the temporary table {shape.label}"
        refusal.refuse(what, "give it another name than the table's, and change it without an xid")
    return shape


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
) -> Generator[Step, Any, Result]:
    landed = yield from travel(standing, trip, ())
    records = yield from records_of(standing, trip, landed)
    if standing.local is None and standing.in_transaction and not local.ledger.records:
        standing.local = local  # without autocommit the server begins it where a table is first touched
    if standing.local is not local:
        details = "the local transaction ended while the statement ran"
        raise errors.give_way(details)
    local.ledger.add(records)
    if landed.covered:
        landed.heard().remember(standing)
    return landed.answer


def _respectfully(standing: Standing, trip: Trip) -> Generator[Step, Any, Result]:
    """Change rows in a local transaction of the application that has no xid."""
    standing.wrote_unhinted = True
    landed = yield from travel(standing, trip, ())
    records = yield from records_of(standing, trip, landed)
    heard = landed.heard()
    yield from respect(standing, records, Patience(standing.lock_wait_seconds), heard)
    heard.remember(standing)
    return landed.answer


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
            "INSERT IGNORE, ON DUPLICATE KEY UPDATE, REPLACE and INSERT ... SELECT cannot be undone"
            " automatically in this local transaction, whose isolation level is not known to lock gaps; use"
            " REPEATABLE READ, set for the session, or send the statement in autocommit"
        )
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    return not locks_gaps


def _locks_gaps(standing: Standing) -> Generator[Step, Any, bool]:
    """Whether no other session can put a row between the image and the statement."""
    if standing.local is not None and standing.local.locks_gaps is not None:
        return standing.local.locks_gaps
    arrived = yield from ask(standing, single(_ISOLATION))
    end_of(arrived)
    levels = {row[1] and narrow(row[1]) for row in arrived.results[-1].rows}
    locks_gaps = bool(levels) and levels <= _LOCK_GAPS and not standing.isolation_doubtful
    if standing.local is not None:
        standing.local.locks_gaps = locks_gaps
    return locks_gaps
