"""Guarded calls: the guard row is written before the statement that asks for it, and says whether that runs.

The row stands in the application's own local transaction, as the first thing that is done in it, so that
both are there or neither is. A call whose work is not to be done is answered by an error of its own
number, and the local transaction is over then: of one that found nothing to take back the rows are
committed, because they keep out what comes late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from globaltx.coordinator.reasons import Reason
from globaltx.modes.guard_row import (
    Finding,
    Guarded,
    InvalidGuardError,
    guard_insert,
    judge,
    maker_query,
)
from globaltx.undo.locks import MISSING_TABLE_ERRORS
from globaltx.undo.statement import may_go_past_end
from globaltx_sidecar.commands import Found
from globaltx_sidecar.mysql import errors
from globaltx_sidecar.mysql.steps import COMMIT, ServerError, end_of, roll_back, run
from globaltx_sidecar.mysql.trains import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.packets import Ok
    from globaltx_sidecar.mysql.steps import Step
    from globaltx_sidecar.mysql.trains import Arrival
    from globaltx_sidecar.ports import Guards


def read(text: str | None) -> Guarded | None:
    """Read what a hint says; None if there is none.

    Raises:
        RefusedError: it is not what the header ``globaltx-guard`` holds.
    """
    if text is None:
        return None
    try:
        return Guarded.parse(text)
    except InvalidGuardError as error:
        raise errors.refuse(Reason.GUARD_MISPLACED, str(error)) from error


def check_alone(xid: Xid | None) -> None:
    """See that a guarded statement has no xid.

    Raises:
        RefusedError: it has one.
    """
    if xid is not None:
        raise _mixed()


def check_text(standing: Standing, sql: bytes, settings: Settings) -> None:
    """See that a text of the call does all of its work within one local transaction.

    Raises:
        RefusedError: something in it may stand behind the end of that, and would be unguarded.
    """
    if standing.multi_statements and SEPARATOR in sql and may_go_past_end(sql, settings.mode):
        details = (
            "in one text nothing may stand behind what may end the local transaction (COMMIT, BEGIN, SET"
            " autocommit, DDL, CALL, ...), because its row would not stand for that; send what ends it last,"
            " or by itself"
        )
        raise _misplaced(details)


def enter(
    standing: Standing, call: Guarded, work: int, *, opening: tuple[bytes, ...] = (), reads: bool = False
) -> Generator[Step, Any, None]:
    """Write the guard row of the local transaction, unless it has it; return if its work is to be done.

    ``opening`` is what begins the local transaction, if the application did not; ``work`` tells the statement
    that comes next from others. ``reads``: it does nothing, so that behind the call's work it may go without.

    Raises:
        RefusedError: it is not to be done, or the guard would not be exact here.
        ServerError: the row could not be written; the local transaction stands as the server has left it.
    """
    if standing.guarded == call:
        return
    calls = _check_place(standing, call, begins=bool(opening))
    insert = guard_insert(standing.schema, calls.owner, call)
    inserted = (yield from _run(standing, *opening, insert)).affected_rows
    if not inserted and reads and calls.is_other(call, work):
        return
    if not inserted:
        finding = judge(call, inserted, (yield from _maker(standing, calls.owner, call)))
        if finding is Finding.REPEATED and calls.goes_on(call, work):
            standing.ended()
            raise _goes_on(call)
        yield from _end(standing, call, finding)
    elif judge(call, inserted) is Finding.EMPTY:
        yield from _run(standing, COMMIT)
        yield from _end(standing, call, Finding.EMPTY)
    standing.guarded = call


def _end(standing: Standing, call: Guarded, finding: Finding) -> Generator[Step, Any, NoReturn]:
    """Tell what is known for good; the local transaction is over.

    Raises:
        RefusedError: always.
    """
    standing.ended()
    yield Found(call, finding)
    raise errors.guarded(call, finding)


def _check_place(standing: Standing, call: Guarded, *, begins: bool) -> Guards:
    if standing.calls is None:
        details = "its datasource does not guard calls; set guardCalls in the policy"
        raise _misplaced(details)
    if standing.guarded is not None:
        details = f"the local transaction works for {standing.guarded} already, and cannot for {call}"
        raise _misplaced(details)
    if standing.local is not None or standing.carried is not None:
        raise _mixed()
    if not begins and (standing.wrote_unhinted or standing.savepoints):
        what = "a savepoint was set" if standing.savepoints else "something was written"
        details = f"{what} in the local transaction before; begin it with the guarded statement"
        raise _misplaced(details)
    return standing.calls


def _maker(standing: Standing, owner: str, call: Guarded) -> Generator[Step, Any, bytes]:
    """Roll back, and ask who has written the row that is there.

    Raises:
        RefusedError: nobody has committed one: it was this local transaction's own.
    """
    yield from roll_back(standing)
    arrived = yield from _arrived(standing, maker_query(standing.schema, owner, call))
    yield from roll_back(standing)
    rows = arrived.results[-1].rows
    made_by = rows[0][0] if rows else None
    if made_by is None:
        details = f"nobody knows any more which local transaction the guard row of {call} was written in"
        raise errors.give_way(details)
    return bytes(made_by)


def _run(standing: Standing, *statements: bytes) -> Generator[Step, Any, Ok]:
    return end_of((yield from _arrived(standing, *statements)))


def _arrived(standing: Standing, *statements: bytes) -> Generator[Step, Any, Arrival]:
    arrived = yield from run(standing, statements)
    error = arrived.error
    if error is None:
        return arrived
    if error.code in MISSING_TABLE_ERRORS:
        raise errors.refuse(Reason.GUARD_TABLE_MISSING, error.message)
    raise ServerError(error)


def _mixed() -> errors.RefusedError:
    details = "the local transaction has an xid by which globaltx undoes it; a call undoes itself"
    return _misplaced(details)


def _goes_on(call: Guarded) -> errors.RefusedError:
    details = (
        f"{call} has committed other work already, and one row cannot stand for both; do all of its work in"
        " one local transaction. What was committed stays, and the call does not count as done"
    )
    return _misplaced(details)


def _misplaced(why: str) -> errors.RefusedError:
    return errors.refuse(Reason.GUARD_MISPLACED, why)
