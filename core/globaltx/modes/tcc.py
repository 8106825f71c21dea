"""TCC: a try reserves, and the outcome asks the application to confirm or to cancel what was reserved.

Phase one leaves nothing but the try's own request, kept with the branch before the try was let
through. So whatever became of the try (its answer was lost, it answered an error, the caller hung
up) there is a branch, and

* Commit asks for the call *confirm*, Rollback for the call *cancel*, each repeated until the
  application answers that it is done;
* a guarded branch that was never started asks for no call: its try was not let through, and never
  will be, because starting is refused once the branch was told its outcome.

An answer that is not one of the branch's success statuses never ends it. 5xx, the few others that
mean "later", and no answer at all are faults that time heals. Any other answer is a refusal: so many
in a row put the branch in Conflict, in plain sight, and it is called again now and then all the same,
until a person has decided to keep things as they are.

An answer is known by one number: the status of HTTP, or the grpc-status of a call that was made by gRPC,
which is smaller than any of HTTP. Of gRPC 0 alone means done.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.transaction.calls import GRPC_MAX
from globaltx.transaction.conflict import Remedy, resolution_of
from globaltx.transaction.model import (
    MESSAGE_LENGTH_MAX,
    RESOURCE_LENGTH_MAX,
    BranchId,
    Settlement,
    shorten,
)
from globaltx.transaction.states import Outcome, State
from globaltx.undo.refusal import RESOLVED_BY_PERSON
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.transaction.calls import Calls
    from globaltx.transaction.model import Branch
    from globaltx.transaction.xid import Xid

CALL_REFUSED = "CallRefused"
"""The reason of a branch whose call is refused again and again."""

_DIGEST_LENGTH = 16
_LATER = frozenset({202, 408, 421, 425, 429, *range(500, 600)})
"""What says nothing against the same call made later."""
GRPC_OK = 0
_GRPC_LATER = frozenset({1, 2, 4, 8, 10, 13, 14, 15})
"""The same of gRPC: CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL,
UNAVAILABLE, DATA_LOSS. https://grpc.io/docs/guides/status-codes/
"""


class Operation(StrEnum):
    """What the application is asked for; the word stands in the header ``globaltx-operation``."""

    TRY = "try"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    STEP = "step"
    COMPENSATE = "compensate"


class Verdict(StrEnum):
    """What an answer to a call means."""

    DONE = "done"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the outcome asks for, at ``path`` of the application."""

    operation: Operation
    path: str
    calls: Calls


def duty(branch: Branch) -> Call | Settlement:
    """Say what the outcome asks of a branch that was told one: a call, or nothing any more."""
    remedy = resolution_of(branch.resolutions, "", "")
    if remedy is not None and remedy.action is Remedy.KEEP:
        return Settlement(_end(branch), RESOLVED_BY_PERSON, shorten(str(remedy)))
    calls = branch.calls
    committed = branch.outcome is Outcome.COMMIT
    if calls is None or (calls.guarded and not branch.started):
        return _nothing_to_do(branch, "its request was never let through")
    path = calls.on_commit if committed else calls.on_rollback
    if not path:
        return _nothing_to_do(branch, "its rules ask for no call")
    return Call(Operation.CONFIRM if committed else Operation.CANCEL, path, calls)


def judge(calls: Calls, status: int) -> Verdict:
    """Say what the status of an answer means."""
    if status == GRPC_OK or status in calls.success_statuses:
        return Verdict.DONE
    later = _GRPC_LATER if status <= GRPC_MAX else _LATER
    return Verdict.LATER if status in later else Verdict.REFUSED


def shown(status: int) -> str:
    """The status of an answer, for people."""
    return f"{'grpc-status' if status <= GRPC_MAX else 'status'} {status}"


def answered(branch: Branch, status: int) -> Settlement:
    """The end of a branch whose call was answered as done."""
    return Settlement(_end(branch), str(_end(branch)), f"answered with {shown(status)}")


def found_done(branch: Branch, finding: str) -> Settlement:
    """The end of a branch whose call's work was done before, or has nothing to do, as its guard row says."""
    return Settlement(_end(branch), str(_end(branch)), f"its guard row says that the call was {finding}")


def conflict(call: Call, status: int, refusals: int) -> Settlement | None:
    """The Conflict of a branch that was refused so often in a row; None while it is not often enough."""
    if refusals < call.calls.refusals_max:
        return None
    # No count in the sentence: a Conflict is written anew when its sentence is another.
    message = (
        f"{call.operation} {call.path} is answered with {shown(status)}, which does not mean done; "
        "put the application's data right, it is called again every few minutes"
    )
    return Settlement(State.CONFLICT, CALL_REFUSED, message[:MESSAGE_LENGTH_MAX])


def branch_id(xid: Xid, app: str, route: str, mark: str) -> BranchId:
    """The branch of a try; ``mark`` is what tells it from the route's other tries in the transaction.

    The route's name stands before the last dot, cut if it is long; the digest has the whole name in it.
    """
    return new_branch_id(xid, app, route, hashlib.sha256(f"{route}\0{mark}".encode()).hexdigest())


def new_branch_id(xid: Xid, app: str, route: str, randomness: str) -> BranchId:
    """The branch of a try that nobody repeats; of the randomness (hex) 64 bits are taken."""
    return BranchId(
        xid, app, f"{route[: RESOURCE_LENGTH_MAX - _DIGEST_LENGTH - 1]}.{randomness[:_DIGEST_LENGTH]}"
    )


def route_of(branch: BranchId) -> str:
    """The name of a branch's route, cut as in `branch_id`."""
    return branch.resource.rpartition(".")[0]


def _nothing_to_do(branch: Branch, why: str) -> Settlement:
    return Settlement(_end(branch), str(_end(branch)), why)


def _end(branch: Branch) -> State:
    return State.COMMITTED if branch.outcome is Outcome.COMMIT else State.ROLLED_BACK
