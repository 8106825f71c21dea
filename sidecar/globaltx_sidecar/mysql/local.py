"""Where one connection stands: its local transaction, its settings, its prepared statements.

An AT local transaction begins with the first statement that carries an xid, in a transaction
that the application has opened, and belongs to that xid until it ends. Its undo records
collect in a ledger and are written with the local commit.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from globaltx.coordinator.policy import DEFAULT_ROWS
from globaltx.undo.ledger import Ledger
from globaltx.values import dataclass, replace
from globaltx_sidecar.mysql.packets import Status
from globaltx_sidecar.mysql.statements import Statements

if TYPE_CHECKING:
    from globaltx.modes.guard_row import Guarded
    from globaltx.transaction.xid import Xid
    from globaltx.undo.sqlmode import SqlMode
    from globaltx_sidecar.mysql.aftermath import Aftermath
    from globaltx_sidecar.mysql.results import Follower
    from globaltx_sidecar.ports import Guards, Traces


_IN_TRANS = int(Status.IN_TRANS)
_AUTOCOMMIT = int(Status.AUTOCOMMIT)


@dataclass(slots=True)
class LocalTransaction:
    """An open local transaction that belongs to an xid."""

    xid: Xid
    ledger: Ledger = field(default_factory=Ledger)
    locks_gaps: bool | None = None
    """Whether its isolation level is known to do so; None: not asked yet."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What must be known of a connection to read its SQL: the default schema, the mode of reading."""

    schema: str | None
    mode: SqlMode


@dataclass(slots=True)
class Standing:
    """Where a connection stands; ``resource``, ``schema`` and ``rows_max`` are the datasource's."""

    resource: str
    schema: str
    lock_wait_seconds: float
    follower: Follower
    rows_max: int = DEFAULT_ROWS
    guards: bool = False
    """Changes without an xid respect global locks."""
    mariadb: bool = False
    session_track: bool = False
    multi_statements: bool = False
    chosen: str | None = None
    """The schema that was chosen last, as far as that was seen, in some spelling; None: not known."""
    temporary: bool = False
    """There may be temporary tables, which only this session sees."""
    settings: Settings | None = None
    """None: not known, or something has passed that may have changed them."""
    local: LocalTransaction | None = None
    lent: bool = False
    """Multi-statements are on for our trains although the application does not have them."""
    owed: bool = False
    """They were switched off behind a train, and the answer to that is still on its way."""
    carried: Xid | None = None
    """From ``SET @globaltx_xid``: every statement takes part."""
    wrote_unhinted: bool = False
    """Since the open transaction began, something other than a read has passed without an xid."""
    isolation_doubtful: bool = False
    """Another isolation level than the session's may hold for a transaction: no server tells which."""
    statements: Statements = field(default_factory=Statements)
    traces: Traces | None = None
    """Where set, statements may take part by the trace that a comment of theirs names."""
    aftermath: Aftermath | None = None
    """What is to be said of the last statement; None: what the server says."""
    calls: Guards | None = None
    """What is known of calls whose guard rows are written; None: the datasource holds none."""
    guarded: Guarded | None = None
    """The call whose guard row the open local transaction has written."""
    savepoints: bool = False
    """One was set since the last COMMIT or ROLLBACK; no status tells, where autocommit is off."""

    @property
    def in_transaction(self) -> bool:
        """Whether the server says that a local transaction is open."""
        return bool(self.follower.status & _IN_TRANS)

    @property
    def autocommits(self) -> bool:
        """Whether a statement now would be a local transaction of its own."""
        return not self.in_transaction and bool(self.follower.status & _AUTOCOMMIT)

    @property
    def pinned(self) -> Xid | None:
        """The xid that the open local transaction belongs to."""
        return None if self.local is None else self.local.xid

    @property
    def inspects(self) -> bool:
        """Whether every statement must be looked into."""
        return self.lent or self.local is not None or self.carried is not None

    def told(self, status: int | None) -> None:
        """The server told its status flags, or (None) answered by an error, which tells none."""
        self.follower.certain = status is not None
        if status is not None:
            self.follower.status = status
            if not self.in_transaction:
                self.ended()

    def ended(self) -> None:
        """The local transaction is over, whichever way."""
        self.local = None
        self.wrote_unhinted = False
        self.guarded = None

    def selected(self, schema: str | None) -> None:
        """The default schema changed."""
        self.chosen = schema
        if self.settings is not None:
            self.settings = replace(self.settings, schema=schema)

    def reset(self) -> None:
        """The session begins anew (COM_RESET_CONNECTION, COM_CHANGE_USER)."""
        self.ended()
        self.savepoints = False
        self.settings = None
        self.carried = None
        self.isolation_doubtful = self.temporary = False
        self.statements.clear()
