"""The table ``globaltx_undo``: undo records that are the global locks, and the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from globaltx.transaction.xid import Xid
    from globaltx.undo.plan import UndoRecord

UNDO_TABLE = "globaltx_undo"
LOCK_CONFLICT_ERRORS = frozenset({3819, 4025})
"""A CHECK was violated: 3819 on MySQL, 4025 on MariaDB."""
MISSING_TABLE_ERRORS = frozenset({1146, 1142, 1143})
"""No such table, or a right on it is missing."""
HOLDER_QUERY = b"SELECT @globaltx_holder, @globaltx_holder := NULL"
"""After a lock conflict: one row whose first column tells who holds the lock (see `holder`)."""


def undo_insert(
    schema: str, xid: Xid, records: Sequence[UndoRecord], committed: Collection[Xid] = ()
) -> bytes:
    """Write the one INSERT that a local commit starts with: all undo records and the fence.

    ``committed`` are transactions that held a lock and whose outcome is Commit: theirs are taken over.
    The text is ASCII and holds no ``;`` (append ``; COMMIT``).
    """
    raise NotImplementedError(schema, xid, records, committed)


def holder(value: bytes | None) -> Xid | None:
    """Read the first column of `HOLDER_QUERY`: who holds the lock.

    The xid itself when it was rolled back meanwhile (its fence is taken). None: nobody, the CHECK
    failed because an inserted row could not be found again by its key.
    """
    raise NotImplementedError(value)
