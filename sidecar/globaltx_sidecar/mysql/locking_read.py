"""A locking read that shows no row which another global transaction may still undo.

The read is sent as it is and its answer kept; then its rows' keys are tried against the undo table
(`globaltx.undo.reading`), and the answer is given when no other transaction holds any of them. A
read in autocommit gets a local transaction for that, so that its rows stay locked until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx.coordinator.reasons import Reason
from globaltx.undo import locks, reading
from globaltx.undo.record import ROWS_MAX
from globaltx.values import dataclass
from globaltx_sidecar.mysql import aftermath, conflicts, errors
from globaltx_sidecar.mysql.change import shape_of
from globaltx_sidecar.mysql.local_commit import failed
from globaltx_sidecar.mysql.packets import Status
from globaltx_sidecar.mysql.patience import Patience
from globaltx_sidecar.mysql.steps import Relay, ServerError, ask, end_of, roll_back, run
from globaltx_sidecar.mysql.trains import Arrival, Train

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.literal import Value
    from globaltx.undo.reading import LockingRead
    from globaltx.undo.shape import TableShape
    from globaltx.undo.sqlmode import SqlMode
    from globaltx.undo.statement import Select
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.packets import Err
    from globaltx_sidecar.mysql.replies import Result
    from globaltx_sidecar.mysql.steps import PassOn, Step, Work

_BEGIN: Final = b"BEGIN"
_CALCULATES: Final = b"sql_calc_found_rows"


@dataclass(frozen=True, slots=True)
class Read:
    """A locking read; ``xid`` None: of a program that takes part in no transaction.

    ``packet``: it is an execute, and is sent as it came.
    """

    xid: Xid | None
    statement: LockingRead
    shape: TableShape
    mode: SqlMode
    parameters: Sequence[Value] = ()
    packet: bytes | None = None

    def check(self, committed: set[Xid]) -> tuple[bytes, bytes]:
        """The SELECT of the rows' keys, and the INSERT that finds another's record."""
        return (
            self.statement.keys(self.shape, self.mode, self.parameters),
            self.statement.check(self.shape, self.mode, self.xid, committed, self.parameters),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """The answer to a read, and that to SHOW WARNINGS; ``calculates``: FOUND_ROWS() is another number."""

    result: Result
    shown: Result
    calculates: bool

    def remember(self, standing: Standing) -> None:
        """Keep what can be asked about it until the next statement."""
        found = None if self.calculates else self.result.row_count
        aftermath.remember_read(standing, found, self.shown)


@dataclass(frozen=True, slots=True)
class Asked:
    """A SELECT that may be one; ``onward`` sends it on as it is.

    ``insist``: it asks for global locks, and is to lock its rows.
    """

    xid: Xid | None
    statement: Select
    settings: Settings
    onward: PassOn
    insist: bool = False


def select(
    standing: Standing, asked: Asked, parameters: Sequence[Value] = (), *, prepared: bool = False
) -> Work:
    """Carry a SELECT out, whether it locks rows or not.

    Raises:
        RefusedError, ServerError: the answer instead.
    """
    statement = reading.locking_read(asked.statement, insist=asked.insist)
    if statement is None:
        yield asked.onward
        return
    shape = yield from shape_of(standing, statement.table, asked.settings)
    if shape.type == "VIEW":
        details = f"{shape.label} is a view; lock the rows of the table that it is made from"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    if shape.type != "BASE TABLE" or shape.engine.lower() != "innodb" or not shape.primary_key:
        yield asked.onward  # nothing of it can be changed by a global transaction
        return
    packet = asked.onward.packet if prepared else None
    yield from carry_out(standing, Read(asked.xid, statement, shape, asked.settings.mode, parameters, packet))


def carry_out(standing: Standing, read: Read) -> Work:
    """Carry a locking read out and answer the application.

    Raises:
        RefusedError, ServerError: the answer instead. After 1205 and 1213 the local transaction is
            rolled back.
    """
    own = standing.autocommits
    patience = Patience(standing.lock_wait_seconds)
    try:
        told = yield from (_by_itself if own else _within)(standing, read, patience)
    except (errors.RefusedError, ServerError) as error:
        if own or _gives_up(error):
            yield from roll_back(standing)
        raise
    if own:
        yield from roll_back(standing)
    told.remember(standing)
    yield Relay(told.result.answer(clear=Status.MORE_RESULTS_EXISTS | (Status.IN_TRANS if own else 0)))


def _gives_up(error: errors.RefusedError | ServerError) -> bool:
    return isinstance(error, errors.RefusedError) and error.reason is Reason.LOCK_CONFLICT


def _by_itself(standing: Standing, read: Read, patience: Patience) -> Generator[Step, Any, Told]:
    """Read in a local transaction of our own, and again after each wait, which holds no lock."""
    committed: set[Xid] = set()
    while True:
        told, arrived = yield from _ask(standing, read, committed, (_BEGIN,))
        if arrived.error is None:
            _check_rows(end_of(arrived).affected_rows)
            return told
        holder = yield from _holder(standing, read, arrived.error)
        yield from roll_back(standing)
        try:
            yield from conflicts.pass_by(holder, committed, patience)
        except conflicts.RollingBackError:
            yield from conflicts.wait_for(holder, patience)


def _within(standing: Standing, read: Read, patience: Patience) -> Generator[Step, Any, Told]:
    """Read in the application's local transaction, and wait until the rows are nobody else's."""
    committed: set[Xid] = set()
    told, arrived = yield from _ask(standing, read, committed, ())
    while arrived.error is not None:
        holder = yield from _holder(standing, read, arrived.error)
        yield from conflicts.pass_by(holder, committed, patience)
        arrived = yield from run(standing, read.check(committed))
    row_keys = [row[0] for row in arrived.results[-2].text_rows() if row[0] is not None]
    if row_keys:
        end_of(
            (
                yield from run(
                    standing, [each.encode() for each in locks.withdraw(read.shape, row_keys, read.xid)]
                )
            )
        )
    _check_rows(len(row_keys))
    return told


def _ask(
    standing: Standing, read: Read, committed: set[Xid], opening: Sequence[bytes]
) -> Generator[Step, Any, tuple[Told, Arrival]]:
    """Send the read, and the check behind it; give its answer, and what the check has come to.

    Raises:
        ServerError: the read itself has failed.
        RefusedError: it gives more than can be kept, or checked.
    """
    check = read.check(committed)
    text = read.statement.text(read.mode)
    if read.packet is None:
        arrived = yield from run(standing, [*opening, text, aftermath.WARNINGS, *check], verbatim=True)
    else:
        arrived = yield from _executed(standing, read.packet, opening, check)
    if len(arrived.results) <= len(opening) + 1 and arrived.error is not None:
        raise ServerError(arrived.error)
    result, shown, *_ = arrived.results[len(opening) :]
    _check_size(result)
    return Told(result, shown, calculates=_CALCULATES in text.lower()), arrived


def _holder(standing: Standing, read: Read, error: Err) -> Generator[Step, Any, Xid]:
    """Ask who holds a row.

    Raises:
        RefusedError, ServerError: the check has failed for another reason.
    """
    if error.code not in locks.LOCK_CONFLICT_ERRORS:
        raise failed(error)
    holder = yield from conflicts.holder_of(standing)
    if holder is None:
        raise ServerError(error)
    if holder == read.xid:
        raise conflicts.no_longer(holder)
    return holder


def _executed(
    standing: Standing, packet: bytes, opening: Sequence[bytes], check: Sequence[bytes]
) -> Generator[Step, Any, Arrival]:
    """Execute a prepared statement, whose rows are binary: it cannot travel with others."""
    results: list[Result] = []
    if opening:
        began = yield from run(standing, opening)
        end_of(began)
        results += began.results
    read = yield from ask(standing, Train(packet, 1, verbatim=True))
    results += read.results
    if read.error is None:
        results += (yield from run(standing, [aftermath.WARNINGS, *check], verbatim=True)).results
    return Arrival(results)


def _check_size(result: Result) -> None:
    if result.overflowed:
        details = (
            "the rows of a locking read are too large to be kept until they are known to stay; read fewer"
        )
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def _check_rows(rows: int) -> None:
    if rows > ROWS_MAX:
        details = (
            f"a locking read of more than {ROWS_MAX} rows (LIMIT does not count) cannot be checked against"
            " other transactions; choose fewer rows in WHERE"
        )
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
