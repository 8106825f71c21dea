"""A guarded change in autocommit: the sidecar opens a local transaction for it, so that row and work are one.

It takes three trips: {BEGIN; guard row}, the statement, {warnings, if there were any; COMMIT}. Nothing but
one change can come this way: a read would leave a row behind that says that all was done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.undo.statement import may_change
from globaltx.values import dataclass
from globaltx_sidecar.commands import Began
from globaltx_sidecar.mysql import batch, errors, guard_row
from globaltx_sidecar.mysql.aftermath import Heard, roll_back_failed
from globaltx_sidecar.mysql.packets import Status
from globaltx_sidecar.mysql.steps import (
    COMMIT,
    Relay,
    ServerError,
    ask,
    end_of,
    roll_back,
    run,
    settle_status,
)
from globaltx_sidecar.mysql.trains import Arrival, Train

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.modes.guard_row import Guarded
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.statements import Prepared
    from globaltx_sidecar.mysql.steps import Step, Work

_BEGIN: Final = (b"BEGIN",)
_CLEARED: Final = Status.IN_TRANS | Status.MORE_RESULTS_EXISTS


@dataclass(frozen=True, slots=True)
class Alone:
    """A statement of a call; ``execute`` is the client's own packets, if it was prepared.

    ``work`` is what tells it from others.
    """

    call: Guarded
    sql: bytes
    work: int
    execute: bytes | None = None


def query(standing: Standing, call: Guarded, sql: bytes, settings: Settings) -> Work:
    """Carry out a text, without its hint.

    Raises:
        RefusedError, ServerError: it was not.
    """
    yield from carry_out(standing, Alone(call, sql, hash(sql)), settings)


def execute(
    standing: Standing, call: Guarded, prepared: Prepared, payload: bytes, settings: Settings
) -> Work:
    """Carry out an execute.

    Raises:
        RefusedError, ServerError: it was not.
    """
    work, packets = prepared.work(payload), prepared.packets(payload)
    prepared.reset()
    yield from carry_out(standing, Alone(call, prepared.sql, work, packets), settings)


def carry_out(standing: Standing, alone: Alone, settings: Settings) -> Work:
    """Write the guard row, do the work, commit, answer.

    Raises:
        RefusedError, ServerError: it was rolled back.
    """
    _check(standing, alone, settings)
    try:
        yield from guard_row.enter(standing, alone.call, alone.work, opening=_BEGIN)
        answer = yield from _done(standing, alone)
        heard = Heard(end_of(Arrival([answer])), returned_rows=bool(answer.columns))
        yield Began(alone.call, alone.work)
        end_of((yield from heard.run(standing, [COMMIT], switch_back=True)))
    except ServerError:
        yield from roll_back_failed(standing)
        raise
    except errors.RefusedError:
        if standing.in_transaction:
            yield from roll_back(standing)
        raise
    standing.ended()
    heard.remember(standing)
    yield Relay(answer.answer(clear=_CLEARED))


def _check(standing: Standing, alone: Alone, settings: Settings) -> None:
    """See that the statement is one change, and nothing else has a say in it.

    Raises:
        RefusedError: it is not.
    """
    several = len(batch.parts(standing, alone.sql, settings)) > 1
    if several or not may_change(alone.sql, settings.mode):
        details = (
            "in autocommit one INSERT, REPLACE, UPDATE or DELETE can be guarded; for all else begin a local"
            " transaction, so that row and work are one"
        )
        raise errors.refuse(Reason.GUARD_MISPLACED, details)
    if standing.guards:
        details = "the datasource has guardLocalWrites; begin a local transaction with the guarded statement"
        raise errors.refuse(Reason.GUARD_MISPLACED, details)


def _done(standing: Standing, alone: Alone) -> Generator[Step, Any, Result]:
    """Run the statement itself.

    Raises:
        ServerError: it failed.
        RefusedError: its answer cannot be kept until it is known to stay.
    """
    if alone.execute is None:
        arrived = yield from run(standing, [alone.sql], verbatim=True)
    else:
        arrived = yield from ask(standing, Train(alone.execute, 1, verbatim=True))
        yield from settle_status(standing)
    end_of(arrived)
    answer = arrived.results[-1]
    if len(arrived.results) > 1 or answer.overflowed:
        details = "it gives more than can be kept until it is known to stay; begin a local transaction for it"
        raise errors.refuse(Reason.GUARD_MISPLACED, details)
    return answer
