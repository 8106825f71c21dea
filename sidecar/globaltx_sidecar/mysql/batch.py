"""Several changes in one text, as drivers send batches where the application has multi-statements.

Each is carried out as if it had come by itself, and its answer says whether another one follows.
The first error ends the batch, as it does in the server; what was done before stays done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.undo import refusal, statement
from globaltx.undo.forms import Delete, Insert, Joined, Update
from globaltx_sidecar.mysql.change import Wanted, changed
from globaltx_sidecar.mysql.steps import Relay
from globaltx_sidecar.mysql.trains import SEPARATOR

if TYPE_CHECKING:
    from globaltx.transaction.xid import Xid
    from globaltx.undo.statement import Change
    from globaltx_sidecar.mysql.local import Settings, Standing
    from globaltx_sidecar.mysql.steps import Work


def parts(standing: Standing, sql: bytes, settings: Settings) -> tuple[bytes, ...]:
    """The statements in a text; only one unless the application has multi-statements."""
    if not standing.multi_statements or SEPARATOR not in sql:
        return (sql,)
    return statement.split(sql, settings.mode)


def carry_out(standing: Standing, xid: Xid | None, texts: tuple[bytes, ...], settings: Settings) -> Work:
    """Carry the changes out, one after the other.

    Raises:
        RefusedError: one of them is no change, or cannot be undone; or, from the second one on, as
            `changed`: it takes the place of that one's answer.
        ServerError: the answer to one of them.
    """
    changes = [_change(text, settings) for text in texts]
    for number, change in enumerate(changes, 1):
        wanted = Wanted(xid, change, statement.text(change, settings.mode), settings)
        yield Relay((yield from changed(standing, wanted, more=number < len(changes))))


def _change(text: bytes, settings: Settings) -> Change:
    found = statement.analyse(text, settings.mode)
    if not isinstance(found, Insert | Update | Delete | Joined):
        refusal.refuse("a text of several statements that are not all changes", "send them one by one")
    return found
