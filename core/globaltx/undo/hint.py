"""The xid hint ``/*+ XID('namespace.name') */`` in a statement: found, read, and cut out.

Only a comment outside of literals counts. ``TraceParent('...')`` beside the xid goes with it; any
other hint in the same comment stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from globaltx.undo.sqlmode import SqlMode

if TYPE_CHECKING:
    pass


class Taken(NamedTuple):
    """A statement without its xid hint, and the text in the hint (not yet checked to be an xid)."""

    sql: bytes
    xid: str | None
    traceparent: str | None = None


def take(sql: bytes, mode: SqlMode = SqlMode()) -> Taken:  # noqa: B008  a frozen value
    """Cut the xid hint out of a statement; without one it is returned as it is.

    Raises:
        RefusedError: two hints name different xids.
    """
    if b"/*+" not in sql:
        return Taken(sql, None)
    raise NotImplementedError(mode)
