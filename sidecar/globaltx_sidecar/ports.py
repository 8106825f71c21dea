"""What the sessions ask of the rest of the sidecar, as narrow protocols.

The MySQL side knows neither the store nor Kubernetes nor the metrics library: it names what
it needs here, and ``main`` plugs the real parts in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from globaltx.coordinator.reasons import Reason
    from globaltx.modes.guard_row import Finding, Guarded
    from globaltx.transaction.model import Decision
    from globaltx.transaction.xid import Xid
    from globaltx.undo.shape import TableShape


class Branches(Protocol):
    """The branches of this application; ``resource`` is a datasource's name."""

    def start(self, xid: Xid, resource: str) -> None:
        """Have the branch registered in the background; idempotent, never waits, never raises."""

    def has_joined(self, xid: Xid, resource: str) -> bool:
        """Whether the registration is known to be durable, so that `joined` need not be waited for."""

    async def joined(self, xid: Xid, resource: str) -> None:
        """Return once the registration is durable; starts it if nobody did.

        Raises:
            AlreadyDecidedError: the outcome is taken, nothing more may join.
            UnknownTransactionError: there is no such transaction.
            StoreUnavailableError: the store did not answer within the caller's patience.
            StoreRefusedError: the store refused the registration for good.
        """

    async def outcome(self, xid: Xid) -> Decision | None:
        """Look up the decision about a transaction, ours or another's; None while undecided.

        Raises:
            UnknownTransactionError: there is no such transaction.
            StoreUnavailableError: the store did not answer.
        """


class Schemas(Protocol):
    """The shapes of the tables of one datasource, read with the sidecar's own account and cached."""

    def known(self, schema: str, table: str) -> TableShape | None:
        """What is remembered of a table's shape, if it is young enough to be used."""

    async def shape(self, schema: str, table: str, *, fresh: bool = False) -> TableShape:
        """Read a table's shape; spellings that the server equates give the same shape.

        ``fresh``: what is remembered has turned out old, ask the database.

        Raises:
            NoSuchTableError: there is none, or the account may not see it.
            OSError: the database does not answer (any error of the driver comes as one).
        """


class Traces(Protocol):
    """Which traces belong to transactions, as far as this pod knows."""

    def xid_of(self, trace: str) -> Xid | None:
        """The transaction that a trace id (32 hexadecimal digits, lower case) belongs to, if any."""

    def call_of(self, trace: str) -> Guarded | None:
        """The call of this application that it belongs to, if any."""


class Guards(Protocol):
    """What guard rows say, for whoever makes the calls."""

    owner: str
    """Whose rows they are, ``<namespace>/<app>``."""

    def found(self, call: Guarded, finding: Finding) -> None:
        """A guard row has said that a call's work is not to be done, for good."""

    def began(self, call: Guarded, work: int) -> None:
        """A call has committed; ``work`` tells its first statement from others."""

    def is_other(self, call: Guarded, work: int) -> bool:
        """Whether a call that is not answered yet has begun with another statement than this."""

    def goes_on(self, call: Guarded, work: int) -> bool:
        """Whether a call whose row is there is no repeat, but wants to do more than it has committed."""


class Meter(Protocol):
    """Where the MySQL side counts; ``resource`` is a datasource's name."""

    def connection_opened(self, resource: str) -> None:
        """A client has connected."""

    def connection_closed(self, resource: str) -> None:
        """A client's connection has ended; follows each `connection_opened` once."""

    def statement_refused(self, resource: str, reason: Reason) -> None:
        """A statement with an xid was answered with an error of ours."""

    def branch_committed(self, resource: str) -> None:
        """A local transaction with undo records was committed."""

    def lock_waited(self, resource: str, seconds: float) -> None:
        """A local commit has waited for another transaction's row."""


class NoMeter:
    """Counts nothing."""

    def connection_opened(self, resource: str) -> None:
        """Count nothing."""

    def connection_closed(self, resource: str) -> None:
        """Count nothing."""

    def statement_refused(self, resource: str, reason: Reason) -> None:
        """Count nothing."""

    def branch_committed(self, resource: str) -> None:
        """Count nothing."""

    def lock_waited(self, resource: str, seconds: float) -> None:
        """Count nothing."""
