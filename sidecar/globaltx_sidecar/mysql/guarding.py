"""The statements of a call that a guard row is asked for, by a hint or by the trace that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.values import replace
from globaltx_sidecar.mysql import guard_alone, guard_row, guard_trace
from globaltx_sidecar.mysql.packets import Command, frame
from globaltx_sidecar.mysql.statements import Prepared
from globaltx_sidecar.mysql.steps import settings_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx.modes.guard_row import Guarded
    from globaltx.transaction.xid import Xid
    from globaltx.undo import hint
    from globaltx.undo.sqlmode import SqlMode
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.steps import Step


def query(
    standing: Standing, packet: Packet, taken: hint.Taken, xid: Xid | None, settings: Settings
) -> Generator[Step, Any, Packet | None]:
    """Write the guard row, if the statement asks for one; give the packet without the hint.

    None: it is answered already, because row and statement are all of their local transaction.

    Raises:
        RefusedError, ServerError: the answer instead.
    """
    call, sql, traced = guard_row.read(taken.guard), taken.sql, False
    if call is None and xid is None:
        found = guard_trace.call_of(standing, sql, settings.mode)
        if found is not None and standing.guarded == found[1]:
            guard_row.check_text(standing, sql, settings)
        traced = found is not None and guard_trace.is_meant(standing, found[1], found[0], settings)
        sql, call = found if found is not None and traced else (sql, None)
    if call is None:
        return packet
    guard_row.check_alone(xid)
    if standing.autocommits:
        yield from guard_alone.query(standing, call, sql, settings)
        return None
    guard_row.check_text(standing, sql, settings)
    if traced:
        yield from guard_trace.enter(standing, call, sql, hash(sql), settings)
    else:
        yield from guard_row.enter(standing, call, hash(sql))
    payload = bytes((Command.QUERY,)) + sql
    return replace(packet, payload=payload, raw=frame(payload, packet.sequence))


def prepared(standing: Standing, taken: hint.Taken, xid: Xid | None, mode: SqlMode) -> Prepared | None:
    """What is prepared for a call, by its hint or by its trace.

    Raises:
        RefusedError: it has an xid too.
    """
    call = guard_row.read(taken.guard)
    if call is not None:
        guard_row.check_alone(xid)
        return Prepared(taken.sql, guard=call)
    found = guard_trace.call_of(standing, taken.sql, mode) if xid is None else None
    return None if found is None else Prepared(found[0], guard=found[1], traced=True)


def execute(standing: Standing, this: Prepared, call: Guarded, packet: Packet) -> Generator[Step, Any, bool]:
    """Write the guard row of an execute; whether it was answered with that."""
    if not (this.traced or standing.autocommits):
        yield from guard_row.enter(standing, call, this.work(packet.payload))
        return False
    settings = yield from settings_of(standing)
    if this.traced and not guard_trace.is_meant(standing, call, this.sql, settings):
        return False
    if standing.autocommits:
        yield from guard_alone.execute(standing, call, this, packet.payload, settings)
        return True
    yield from guard_trace.enter(standing, call, this.sql, this.work(packet.payload), settings)
    return False
