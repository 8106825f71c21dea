"""What the application is told, as MySQL errors with documented codes.

- 1105 (HY000) ``globaltx: <Reason>: <sentence>``: refused; the reason is a word of
  `globaltx.coordinator.reasons`, the sentence says what was met and what to do;
- 1205 (HY000): another global transaction holds a row and did not let go in time;
- 1213 (40001): give way to another global transaction, restart the transaction;
- 29901, 29902, 29903 (45000): the guard row of a call says that its work was done before, that there is
  nothing to take back, or that it comes too late: it is not done (numbers that no server sends);
- 1053 (08S01): the sidecar is stopping;
- 2003 (HY000): the database does not answer (the code that drivers know for it);
- 2026 (HY000): there is no TLS with the database where there should be (likewise).

After 1205, 1213, 29901 to 29903, and every refusal of a COMMIT the local transaction is rolled back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.modes.guard_row import Finding
from globaltx_sidecar.mysql.packets import Err

if TYPE_CHECKING:
    from globaltx.modes.guard_row import Guarded
    from globaltx.transaction.xid import Xid

REFUSED_CODE: Final = 1105
GIVE_WAY_CODE: Final = 1213
"""The server's own for a deadlock, too."""
GENERAL_STATE: Final = "HY000"
_GUARDED: Final = {
    Finding.REPEATED: (29901, Reason.CALL_REPEATED),
    Finding.EMPTY: (29902, Reason.CALL_EMPTY),
    Finding.LATE: (29903, Reason.CALL_LATE),
}
"""From what https://dev.mysql.com/doc/refman/8.4/en/error-message-elements.html keeps for servers' own logs.

Some drivers read the number as a signed one: what is reserved for others, from 50000 on, would be negative.
"""
_USER_DEFINED: Final = "45000"


class RefusedError(Exception):
    """A statement is answered with ``error`` instead of being carried out; ``reason`` is counted."""

    def __init__(self, reason: Reason, error: Err) -> None:
        super().__init__(error.message)
        self.reason = reason
        self.error = error


def refuse(reason: Reason, details: str) -> RefusedError:
    """Make a refusal (error 1105)."""
    return RefusedError(reason, Err(REFUSED_CODE, GENERAL_STATE, f"globaltx: {reason}: {details}"))


def mixed(details: str) -> RefusedError:
    """A local transaction was asked to serve two masters."""
    return refuse(Reason.LOCAL_TRANSACTION_MIXED, f"{details}. {SENTENCES[Reason.LOCAL_TRANSACTION_MIXED]}")


def give_way(details: str) -> RefusedError:
    """Our change was built on what is about to be undone: the application restarts (error 1213)."""
    message = f"globaltx: {Reason.LOCK_CONFLICT}: {details}; restart the transaction"
    return RefusedError(Reason.LOCK_CONFLICT, Err(GIVE_WAY_CODE, "40001", message))


def lock_timeout(holder: Xid, waited_seconds: float) -> RefusedError:
    """The holder of a row was still undecided when patience ended (error 1205)."""
    message = (
        f"globaltx: {Reason.LOCK_CONFLICT}: global transaction {holder} holds a row that this one changes"
        f" and was undecided for {waited_seconds:.1f} s; restart the transaction"
    )
    return RefusedError(Reason.LOCK_CONFLICT, Err(1205, GENERAL_STATE, message))


def guarded(call: Guarded, finding: Finding) -> RefusedError:
    """The guard row says that a call's work is not to be done (errors 29901 to 29903)."""
    code, reason = _GUARDED[finding]
    return RefusedError(reason, Err(code, _USER_DEFINED, f"globaltx: {reason}: {call}: {SENTENCES[reason]}"))


def no_such_table(schema: str, table: str) -> RefusedError:
    """The shape of a table could not be found (error 1146, as the server would say)."""
    message = (
        f"globaltx: {Reason.STATEMENT_NOT_UNDOABLE}: Table '{schema}.{table}' doesn't exist, is temporary,"
        " or the sidecar's account may not see it"
    )
    return RefusedError(Reason.STATEMENT_NOT_UNDOABLE, Err(1146, "42S02", message))


NO_DATABASE_SELECTED: Final = Err(1046, "3D000", "No database selected")
STOPPING: Final = Err(1053, "08S01", "globaltx: the sidecar is stopping; connect again elsewhere")


def not_secured(details: str) -> Err:
    """What belongs to TLS or to a password that goes over it went wrong."""
    message = f"globaltx: {Reason.DATASOURCE_UNAVAILABLE}: no TLS with the database: {details}"
    return Err(2026, GENERAL_STATE, message)


def cannot_connect(host: str, port: int, details: str) -> Err:
    """The database does not answer."""
    met = f"cannot connect to MySQL server on '{host}:{port}' ({details})"
    return Err(2003, GENERAL_STATE, f"globaltx: {Reason.DATASOURCE_UNAVAILABLE}: {met}")
