"""What AT refuses before it runs, each time with the way out."""

from __future__ import annotations

from typing import NoReturn

STATEMENT_NOT_UNDOABLE = "StatementNotUndoable"
NO_PRIMARY_KEY = "NoPrimaryKey"
INVALID_XID = "InvalidXid"
LOCK_CONFLICT = "LockConflict"
ROW_CHANGED = "RowChanged"
RESOLVED_BY_PERSON = "ResolvedByPerson"
"""Words of ``globaltx.coordinator.reasons.Reason``, which stands a layer above this one."""


class RefusedError(Exception):
    """A statement that must not run under an xid; the application gets ``reason: sentence``.

    ``reason`` is a word of ``globaltx.coordinator.reasons``; ``sentence`` says what was met
    and what to write instead.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(f"{reason}: {sentence}")
        self.reason = reason
        self.sentence = sentence


class RowsMissedError(Exception):
    """The statement changed rows that the image before it did not see (another transaction came between).

    Passing: the local transaction must be rolled back, and may be tried again (error 1213).
    """


def refuse(what: str, way_out: str) -> NoReturn:
    """Refuse a statement: what it is, and what to write instead.

    Raises:
        RefusedError: always.
    """
    raise RefusedError(STATEMENT_NOT_UNDOABLE, f"{what} cannot be undone automatically; {way_out}")
