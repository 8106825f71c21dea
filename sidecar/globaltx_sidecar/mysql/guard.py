"""Changes without an xid where the datasource guards them (`guardLocalWrites`).

What is no INSERT, REPLACE, UPDATE or DELETE goes on as it came, and so do changes of tables that no
global transaction can change. A change that cannot be checked is refused: a guard that lets some
through unseen would be none.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreError
from globaltx.undo import refusal
from globaltx.undo import statement as sql_statement
from globaltx.undo.forms import Delete, Insert, Joined, Update
from globaltx.undo.shape import NoSuchTableError
from globaltx_sidecar.commands import Describe
from globaltx_sidecar.mysql import batch, errors, names
from globaltx_sidecar.mysql.change import Wanted, carry_out
from globaltx_sidecar.mysql.steps import PassOn, Relay
from globaltx_sidecar.mysql.travel import returns_rows, unplanned

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.reader import Packet
    from globaltx_sidecar.mysql.steps import Step, Work


def query(standing: Standing, packet: Packet, settings: Settings) -> Work:
    """Carry out a text that comes without an xid.

    Raises:
        RefusedError, ServerError: the answer instead.
    """
    texts = batch.parts(standing, packet.payload[1:], settings)
    changing = [sql_statement.may_change(text, settings.mode) for text in texts]
    if not any(changing):
        yield PassOn(packet.raw)
    elif len(texts) == 1:
        change = analysed(texts[0], settings)
        if change is None:
            yield PassOn(packet.raw)
            return
        wanted = Wanted(None, change, sql_statement.text(change, settings.mode), settings)
        yield from guarded(standing, wanted, PassOn(packet.raw))
    else:
        with _saying_why():
            yield from batch.carry_out(standing, None, texts, settings)


def passed_on(standing: Standing, packet: Packet) -> Work:
    """Pass on an execute of what changes no table itself; it may have changed how SQL is read."""
    standing.settings = None
    standing.wrote_unhinted = standing.isolation_doubtful = True
    yield PassOn(packet.raw)


def analysed(sql: bytes, settings: Settings) -> Change | None:
    """Read a statement; None if it is no change.

    Raises:
        RefusedError: it is one that cannot be checked.
    """
    if not sql_statement.may_change(sql, settings.mode):
        return None
    with _saying_why():
        found = sql_statement.analyse(sql, settings.mode)
    return found if isinstance(found, Insert | Update | Delete | Joined) else None


def guarded(standing: Standing, wanted: Wanted, onward: PassOn | None = None) -> Work:
    """Carry a change out when its rows are no other transaction's.

    ``onward`` sends on what need not be checked, None: as the text that it is.

    Raises:
        RefusedError, ServerError: the answer instead.
    """
    if not (yield from _cannot_meet(standing, wanted)):
        with _saying_why():
            yield from carry_out(standing, wanted)
    elif onward is not None:
        yield onward
    else:
        standing.wrote_unhinted = True
        returning = returns_rows(wanted.change)
        yield Relay((yield from unplanned(standing, wanted.sql, returning=returning, execute=wanted.execute)))


def _cannot_meet(standing: Standing, wanted: Wanted) -> Generator[Step, Any, bool]:
    """Whether no global transaction can have changed a row of the table."""
    change = wanted.change
    if isinstance(change, Joined):
        return False
    schema = change.table.schema or wanted.settings.schema
    if schema is None or schema.casefold() != standing.schema.casefold():
        return True
    try:
        shape = yield Describe(schema, change.table.name, False)  # noqa: FBT003  a command's field
    except NoSuchTableError:
        return True  # a temporary one, or none at all, which the server will say
    except (OSError, StoreError):
        return False  # it is told when the change is planned
    if (yield from names.is_temporary(standing, shape.schema, shape.name)):
        return True
    can = shape.engine.lower() == "innodb" and shape.primary_key and not shape.triggers
    return shape.type == "BASE TABLE" and not can


@contextmanager
def _saying_why() -> Iterator[None]:
    """Say with a refusal that it is the guard's: nobody expects one without an xid."""
    try:
        yield
    except refusal.RefusedError as error:
        details = f"guardLocalWrites holds for statements without an xid too: {error.sentence}"
        raise errors.refuse(Reason(error.reason), details) from error
