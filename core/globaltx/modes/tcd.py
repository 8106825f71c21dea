"""TCD: a try reserves for a time; Commit confirms, nothing cancels, and what went wrong is diagnosed.

Phase one leaves the try's request, as in TCC, and a reservation that the application lets go by itself
when its time is over. So

* Commit asks for the call *confirm*, by the rules of TCC;
* Rollback asks for nothing at all: the reservation runs out.

The price is that a confirm can come too late. The deadline of the transaction is kept so early that
the margin is left for confirming (`globaltx.transaction.calls.Reservation.decide_within`); when that was
not enough, the first answer that says so puts the branch in Conflict. Others may be confirmed by then,
and cannot be taken back: a person asks every participant how it stands, and decides. The call is made
again now and then all the same, in case the application can still make it good.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.modes import tcc
from globaltx.transaction.model import MESSAGE_LENGTH_MAX, Settlement
from globaltx.transaction.states import Outcome, State

if TYPE_CHECKING:
    from globaltx.modes.tcc import Call
    from globaltx.transaction.model import Branch

RESERVATION_EXPIRED = "ReservationExpired"
"""The reason of a branch whose confirm came too late."""
STATE = "state"
"""What the application is asked for by a diagnosis; the word stands in the header ``globaltx-operation``."""


def duty(branch: Branch) -> Call | Settlement:
    """Say what the outcome asks of a branch that was told one: a confirm, or nothing."""
    if branch.outcome is Outcome.ROLLBACK and branch.started:
        return Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), "what was reserved runs out by itself")
    return tcc.duty(branch)


def conflict(call: Call, status: int, refusals: int) -> Settlement | None:
    """The Conflict of a branch whose confirm came too late, or was refused too often in a row."""
    reservation = call.calls.reservation
    if reservation is None or status not in reservation.expired_statuses:
        return tcc.conflict(call, status, refusals)
    message = (
        f"{call.operation} {call.path} is answered with {tcc.shown(status)}: the reservation has run out; "
        "others may be confirmed, so ask them all by `kubectl globaltx diagnose`"
    )
    return Settlement(State.CONFLICT, RESERVATION_EXPIRED, message[:MESSAGE_LENGTH_MAX])
