"""What is done with a client packet that may have to do with a global transaction.

Everything here runs for one packet at a time, while nothing else is in flight on the
connection. A packet that turns out to have nothing to tell is passed on as it came.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.xid import InvalidXidError, Xid
from globaltx.undo import hint, refusal, sqlcomment
from globaltx.undo import statement as sql_statement
from globaltx.undo.literal import Text
from globaltx.undo.reading import locking_read
from globaltx.undo.statement import Control, Delete, Insert, Joined, Select, Set, Setting, Update, Verb
from globaltx_sidecar.commands import Refused
from globaltx_sidecar.mysql import aftermath, batch, errors, guard, guarding, names
from globaltx_sidecar.mysql.change import Wanted, carry_out, pin
from globaltx_sidecar.mysql.local_commit import commit
from globaltx_sidecar.mysql.locking_read import Asked, select
from globaltx_sidecar.mysql.packets import Command, Status, frame, statement_id_of
from globaltx_sidecar.mysql.results import SILENT
from globaltx_sidecar.mysql.statements import Prepared
from globaltx_sidecar.mysql.steps import (
    COMMIT,
    Answer,
    PassOn,
    ServerError,
    ask,
    end_of,
    give_back,
    settings_of,
    settle_status,
)
from globaltx_sidecar.mysql.trains import Train, single
from globaltx_sidecar.mysql.travel import returns_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from globaltx.undo.literal import Value
    from globaltx.undo.sqlmode import SqlMode
    from globaltx.undo.statement import Statement
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.steps import Step, Work
    from globaltx_sidecar.ports import Traces

CHANGES = (Insert, Update, Delete, Joined)
XID_VARIABLE = b"globaltx_xid"
_SEPARATOR = b";"


def handle(standing: Standing, packet: Packet) -> Work:
    """Do what a packet asks for; every refusal and every error of the server becomes its answer."""
    try:
        yield from settle_status(standing)
        if standing.local is None or _SEPARATOR in packet.raw:
            yield from give_back(standing)
        yield from _HANDLERS.get(packet.payload[0], _pass_on)(standing, packet)
    except refusal.RefusedError as refused:
        error = errors.refuse(Reason(refused.reason), refused.sentence)
        yield Refused(error.reason)
        yield Answer(error.error.encode())
    except errors.RefusedError as refused:
        yield Refused(refused.reason)
        yield Answer(refused.error.encode())
    except ServerError as failed:
        if packet.payload[0] not in SILENT:
            yield Answer(failed.error.encode())
    if standing.owed or standing.local is None:
        yield from give_back(standing)


def _pass_on(standing: Standing, packet: Packet) -> Work:
    del standing
    yield PassOn(packet.raw)


def _query(standing: Standing, packet: Packet) -> Work:
    settings = yield from settings_of(standing)
    asked = yield from aftermath.question(standing, packet, settings.mode)
    if asked is None:
        return
    packet = asked
    taken = hint.take(packet.payload[1:], settings.mode)
    taken, xid = _whose(standing, taken, settings.mode)
    guarded = yield from guarding.query(standing, packet, taken, xid, settings)
    if guarded is None:
        return
    packet = guarded
    if xid is None and standing.local is None and not taken.global_lock:
        yield from _query_without_xid(standing, packet, settings)
        return
    xid = xid or standing.pinned
    texts = batch.parts(standing, taken.sql, settings)
    if len(texts) > 1 and xid is not None:
        yield from batch.carry_out(standing, xid, texts, settings)
        return
    statement = sql_statement.analyse(taken.sql, settings.mode)
    sql = sql_statement.text(statement, settings.mode)
    if isinstance(statement, CHANGES) and (xid is not None or standing.guards):
        yield from _change(standing, Wanted(xid, statement, sql, settings))
    elif isinstance(statement, Control):
        yield from _control(standing, statement, sql)
    elif isinstance(statement, Set):
        yield from _set(standing, statement, sql)
    else:
        if isinstance(statement, Select) and xid is not None:
            pin(standing, xid)
        cleaned = frame(bytes((Command.QUERY,)) + sql, packet.sequence)
        if isinstance(statement, Select):
            reads = Asked(xid, statement, settings, PassOn(cleaned), insist=taken.global_lock)
            yield from select(standing, reads)
        else:
            yield PassOn(cleaned)


def _whose(standing: Standing, taken: hint.Taken, mode: SqlMode) -> tuple[hint.Taken, Xid | None]:
    """The xid that a statement names, or the connection, or the statement's trace."""
    xid = _xid(taken.xid) or standing.carried
    if xid is None and standing.traces is not None:
        return _of_trace(standing.traces, taken, mode)
    return taken, xid


def _change(standing: Standing, wanted: Wanted) -> Work:
    if wanted.xid is None:
        yield from guard.guarded(standing, wanted)
    else:
        yield from carry_out(standing, wanted)


def _query_without_xid(standing: Standing, packet: Packet, settings: Settings) -> Work:
    """Nothing to take part in, unless it is the SET that says in what."""
    statement: Statement | None = None
    if XID_VARIABLE in packet.payload.lower():
        try:
            statement = sql_statement.analyse(packet.payload[1:], settings.mode)
        except refusal.RefusedError as refused:
            # Without an xid nothing is refused, but for what may set one out of our sight.
            several = standing.multi_statements and _SEPARATOR in packet.payload
            if several or refused.reason == refusal.INVALID_XID:
                raise
    if isinstance(statement, Set):
        yield from _set(standing, statement, packet.payload[1:])
    elif standing.guards:
        yield from guard.query(standing, packet, settings)
    else:
        yield PassOn(packet.raw)


def _of_trace(traces: Traces, taken: hint.Taken, mode: SqlMode) -> tuple[hint.Taken, Xid | None]:
    """The xid of the trace that a statement names, and the statement without that comment; or as it was."""
    if all(traces.xid_of(each) is None for each in sqlcomment.named(taken.sql)):
        return taken, None
    traced = sqlcomment.take(taken.sql, mode)
    xid = None if traced.trace is None else traces.xid_of(traced.trace)
    return (taken, None) if xid is None else (taken._replace(sql=traced.sql), xid)


def _xid(text: str | None) -> Xid | None:
    """Read the xid of a hint or a variable; none, or an empty one, is None.

    Raises:
        RefusedError: it is no xid.
    """
    if not text:
        return None
    try:
        return _parsed(text)
    except InvalidXidError as error:
        raise errors.refuse(Reason.INVALID_XID, str(error)) from error


@lru_cache(maxsize=256)
def _parsed(text: str) -> Xid:
    """Each statement of a transaction names it again."""
    return Xid.parse(text)


def _answered(standing: Standing, train: Train) -> Generator[Step, Any, None]:
    """Have the server do it, and give its OK to the application.

    Raises:
        ServerError: it answered by an error.
    """
    ok = end_of((yield from ask(standing, train)))
    yield Answer(ok.encode())


def _control(standing: Standing, control: Control, sql: bytes) -> Work:
    """BEGIN, COMMIT, ROLLBACK, savepoints, USE."""
    match control.verb:
        case Verb.COMMIT if standing.local is not None and standing.local.ledger.records:
            local = standing.local
            ok = yield from commit(standing, local.xid, local.ledger.records, sql)
            yield Answer(ok.with_status(clear=Status.MORE_RESULTS_EXISTS).encode())
        case Verb.COMMIT | Verb.ROLLBACK:
            yield from _answered(standing, single(sql))
            standing.ended()
            standing.savepoints = False
        case Verb.BEGIN:
            yield from _commit_implicitly(standing)
            yield from _answered(standing, single(sql))
        case Verb.USE:
            yield from _answered(standing, single(sql))
            standing.selected(control.argument)
        case _:
            yield from _answered(standing, single(sql))
            _savepoint(standing, control)


def _savepoint(standing: Standing, control: Control) -> None:
    if standing.local is None or control.argument is None:
        return
    ledger = standing.local.ledger
    match control.verb:
        case Verb.SAVEPOINT:
            ledger.savepoint(control.argument)
        case Verb.ROLLBACK_TO:
            ledger.rollback_to(control.argument)
        case Verb.RELEASE:
            ledger.release(control.argument)


def _commit_implicitly(standing: Standing) -> Generator[Step, Any, None]:
    """The next statement commits what is open (BEGIN, SET autocommit=1): it must take its records along."""
    local = standing.local
    if local is not None and local.ledger.records:
        yield from commit(standing, local.xid, local.ledger.records, COMMIT)
    standing.ended()


def _set(standing: Standing, statement: Set, sql: bytes) -> Work:
    """SET, as far as it concerns the transaction or the reading of SQL."""
    carried = [_xid(value) for setting, value in statement.changes if setting is Setting.XID]
    if any(setting is Setting.XID and value is None for setting, value in statement.changes):
        details = "@globaltx_xid must be set to a constant: SET @globaltx_xid = 'namespace.name'"
        raise errors.refuse(Reason.INVALID_XID, details)
    if _switches_autocommit_on(standing, statement):
        yield from _commit_implicitly(standing)
    if any(setting in {Setting.CHARSET, Setting.SQL_MODE} for setting, _ in statement.changes):
        standing.settings = None
    if b"isolation" in sql.lower():
        standing.isolation_doubtful = True
    yield from _answered(standing, single(sql))
    if carried:
        standing.carried = carried[-1]


def _switches_autocommit_on(standing: Standing, statement: Set) -> bool:
    """Whether a SET commits what is open: not when autocommit is on already, and stays so."""
    values = [value for setting, value in statement.changes if setting is Setting.AUTOCOMMIT]
    was_on = bool(standing.follower.status & Status.AUTOCOMMIT)
    return any(value != "0" for value in values) and not (was_on and set(values) == {"1"})


def _init_db(standing: Standing, packet: Packet) -> Work:
    yield from _answered(standing, Train(packet.raw, 1))
    standing.selected(packet.payload[1:].decode("utf-8", "surrogateescape"))


def _prepare(standing: Standing, packet: Packet) -> Work:
    """A statement with a hint is prepared without it, so that ids, counts and errors are the server's own."""
    settings = yield from settings_of(standing)
    taken = hint.take(packet.payload[1:], settings.mode)
    xid = _xid(taken.xid)
    if xid is None and standing.traces is not None:
        taken, xid = _of_trace(standing.traces, taken, settings.mode)
    guarded = guarding.prepared(standing, taken, xid, settings.mode)
    if guarded is not None:
        yield PassOn(frame(bytes((Command.STMT_PREPARE,)) + guarded.sql, packet.sequence), guarded)
        return
    sets_xid = XID_VARIABLE in taken.sql.lower() and _sets_xid(taken.sql, settings)
    if xid is None and not (sets_xid or taken.global_lock):
        yield PassOn(packet.raw)
        return
    statement = sql_statement.analyse(taken.sql, settings.mode)
    sql = sql_statement.text(statement, settings.mode)
    if isinstance(statement, Select) and taken.global_lock:
        read = locking_read(statement, insist=True)
        sql = sql if read is None else read.text(settings.mode)
    prepared = Prepared(sql, xid, sets_xid=sets_xid, global_lock=taken.global_lock)
    yield PassOn(frame(bytes((Command.STMT_PREPARE,)) + sql, packet.sequence), prepared)


def _sets_xid(sql: bytes, settings: Settings) -> bool:
    """Whether a statement is a SET of the variable.

    Raises:
        RefusedError: it sets it otherwise.
    """
    try:
        statement = sql_statement.analyse(sql, settings.mode)
    except refusal.RefusedError as refused:
        if refused.reason == refusal.INVALID_XID:
            raise
        return False
    return isinstance(statement, Set) and any(setting is Setting.XID for setting, _ in statement.changes)


def _execute(standing: Standing, packet: Packet) -> Work:
    statement_id = statement_id_of(packet.payload)
    prepared = standing.statements.get(statement_id)
    if prepared is None:
        if not standing.statements.reads(statement_id):
            raise _unknown_statement()
        yield PassOn(packet.raw)
        return
    _check_kept(prepared)
    xid = prepared.xid or standing.carried or standing.pinned
    call = prepared.guard
    if call is not None and (yield from guarding.execute(standing, prepared, call, packet)):
        return
    if xid is None and not (prepared.sets_xid or prepared.global_lock):
        yield from _execute_without_xid(standing, prepared, packet)
        return
    settings = yield from settings_of(standing)
    statement = sql_statement.analyse(prepared.sql, settings.mode)
    if isinstance(statement, Set):
        yield from _set(standing, *_bound_set(statement, prepared, packet, settings))
        return
    if isinstance(statement, CHANGES) and (xid is not None or standing.guards):
        yield from _change(standing, _bound(xid, statement, prepared, packet, settings))
        return
    if isinstance(statement, Control):
        yield from _control(standing, statement, prepared.sql)
        return
    if isinstance(statement, Select):
        if xid is not None:
            pin(standing, xid)
        asked = Asked(xid, statement, settings, PassOn(packet.raw))
        yield from select(standing, asked, _read_with(statement, prepared, packet, settings), prepared=True)
    else:
        yield PassOn(packet.raw)


def _execute_without_xid(standing: Standing, prepared: Prepared, packet: Packet) -> Work:
    """Nothing to take part in; but a guard may have to look at it."""
    if not standing.guards:
        prepared.note_types(packet.payload)
        prepared.reset()
        yield from guard.passed_on(standing, packet)
        return
    settings = yield from settings_of(standing)
    change = guard.analysed(prepared.sql, settings)
    if change is not None:
        yield from guard.guarded(standing, _bound(None, change, prepared, packet, settings))
        return
    prepared.note_types(packet.payload)
    prepared.reset()
    yield from guard.passed_on(standing, packet)


def _read_with(
    statement: Select, prepared: Prepared, packet: Packet, settings: Settings
) -> tuple[Value, ...]:
    """The parameters of an execute of a SELECT, as far as they must be known.

    Raises:
        RefusedError: it locks rows, and they cannot be, or it means other rows.
    """
    if statement.for_update or prepared.global_lock:
        names.check_schema(prepared, settings)
    if not statement.for_update or not statement.source.parameters:
        return ()
    if prepared.long_data_at_server:
        details = "a locking read cannot be checked with long data; send its parameters with the execute"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    return prepared.values(packet.payload, settings.mode.charset)


def _bound_set(statement: Set, prepared: Prepared, packet: Packet, settings: Settings) -> tuple[Set, bytes]:
    """A SET with its parameter in place; more than that one is beyond us.

    Raises:
        RefusedError: it has more.
    """
    if not statement.source.parameters:
        return statement, prepared.sql
    parameters = prepared.values(packet.payload, settings.mode.charset)
    prepared.reset()
    (value,) = parameters if len(parameters) == 1 else (0,)
    if statement.changes != ((Setting.XID, None),) or isinstance(value, int | float | Decimal):
        raise errors.refuse(Reason.INVALID_XID, "set @globaltx_xid by itself, to a text")
    xid = _xid((value.data if isinstance(value, Text) else value or b"").decode("ascii", "replace"))
    text = "NULL" if xid is None else f"'{xid}'"
    return Set(statement.source, ((Setting.XID, str(xid or "")),)), f"SET @globaltx_xid = {text}".encode()


def _bound(
    xid: Xid | None, change: sql_statement.Change, prepared: Prepared, packet: Packet, settings: Settings
) -> Wanted:
    """Put the parameters of an execute into the text: a change is answered by an OK either way.

    Unless it is answered by rows, which are binary ones for an execute.
    """
    if prepared.long_data_at_server:
        details = "its long data was sent before the xid came; begin with the statement that names the xid"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    names.check_schema(prepared, settings)
    parameters = prepared.values(packet.payload, settings.mode.charset)
    execute = prepared.packets(packet.payload) if returns_rows(change) else None
    prepared.reset()
    try:
        sql = sql_statement.bind(change, parameters, settings.mode)
    except ValueError as error:
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, str(error)) from error
    return Wanted(xid, change, sql, settings, parameters, execute)


def _check_kept(prepared: Prepared) -> None:
    """See that all that belongs to an execute could be kept.

    Raises:
        RefusedError: it could not.
    """
    if prepared.lost:
        raise _unknown_statement()
    if prepared.long_data_missed:
        prepared.reset()
        details = (
            "more long data than can be kept for it; send it in pieces of less than 16 MiB, 64 MiB in all"
        )
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def _unknown_statement() -> errors.RefusedError:
    details = (
        "the prepared statement is not known to the sidecar, because too much was prepared on the connection;"
        " close statements that are no longer needed"
    )
    return errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)


def _bulk_execute(standing: Standing, packet: Packet) -> Work:
    statement_id = statement_id_of(packet.payload)
    prepared = standing.statements.get(statement_id)
    watched = standing.inspects or standing.guards
    if watched or (prepared is not None and (prepared.xid or prepared.guard)):
        details = "bulk execution (COM_STMT_BULK_EXECUTE) cannot be undone automatically; execute row by row"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    yield PassOn(packet.raw)


def _send_long_data(standing: Standing, packet: Packet) -> Work:
    """Keep the long data of a change here: the server will see a text, and must not keep it for later."""
    prepared = standing.statements.get(statement_id_of(packet.payload))
    watched = standing.inspects or standing.guards
    if prepared is not None and (watched or prepared.xid is not None):
        settings = yield from settings_of(standing)
        with suppress(refusal.RefusedError):  # the execute will be refused
            if isinstance(sql_statement.analyse(prepared.sql, settings.mode), CHANGES):
                prepared.keep_long_data(packet.payload)
                return
    yield PassOn(packet.raw)


def _commit_unseen(standing: Standing, packet: Packet) -> Work:
    """Commands of old that commit by the way."""
    if standing.local is not None and standing.local.ledger.records:
        details = "the command would commit the local transaction without its undo records; commit it before"
        raise errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
    yield PassOn(packet.raw)


_HANDLERS: dict[int, Callable[[Standing, Packet], Work]] = {
    Command.QUERY: _query,
    Command.INIT_DB: _init_db,
    Command.CREATE_DB: _commit_unseen,
    Command.DROP_DB: _commit_unseen,
    Command.REFRESH: _commit_unseen,
    Command.STMT_PREPARE: _prepare,
    Command.STMT_EXECUTE: _execute,
    Command.STMT_BULK_EXECUTE: _bulk_execute,
    Command.STMT_SEND_LONG_DATA: _send_long_data,
}
"""Commands that are not listed are passed on."""
