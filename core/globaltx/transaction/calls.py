"""What a branch asks of its application by HTTP: the request that made it, and whom to call at the end.

Both are kept with the branch, so that it ends under the rules it began with, whatever becomes of
the policy, and so that any sidecar of the app can make the calls.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from globaltx.values import dataclass, replace

BODY_BYTES_MAX = 64 * 1024
"""How large a request's body may be that is kept; the record of a branch holds it."""
DEFAULT_CALL_TIMEOUT = timedelta(seconds=10)
DEFAULT_SUCCESS_STATUSES = frozenset({200, 204})
DEFAULT_REFUSALS = 10
DEFAULT_MARGIN = timedelta(seconds=10)
DEFAULT_EXPIRED_STATUSES = frozenset({404, 409, 410})
GRPC_MAX = 99
"""Up to here the status of an answer is a grpc-status; those of HTTP are larger."""
GRPC_REFUSALS = {
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "FAILED_PRECONDITION": 9,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "UNAUTHENTICATED": 16,
}
"""What an application refuses a call by; all others mean done, or a fault that time heals.
https://grpc.io/docs/guides/status-codes/
"""
DEFAULT_EXPIRED_GRPC = ("NOT_FOUND", "FAILED_PRECONDITION")


_GRPC = "application/grpc"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as far as it is kept: ``query`` without its question mark, the allowed headers, the body."""

    method: str = "POST"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def grpc(self) -> bool:
        """Whether it was a call of gRPC, so that the calls at its branch's end are too."""
        return any(name.lower() == "content-type" and is_grpc(value) for name, value in self.headers)


def is_grpc(content_type: str) -> bool:
    """Whether a content type is that of gRPC, whose status comes in trailers; gRPC-Web is not."""
    kind = content_type.strip().lower()
    return kind.startswith(_GRPC) and not kind.startswith(f"{_GRPC}-")


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a try reserves for a time and no longer, so that nobody needs to cancel it.

    It holds at least ``duration`` from the try on; ``margin`` of that is left for the confirms. A
    confirm that is answered with one of ``expired_statuses``, of HTTP or of gRPC, came too late. ``state``
    is the path of the application that tells what became of it.
    """

    duration: timedelta
    state: str
    margin: timedelta = DEFAULT_MARGIN
    expired_statuses: frozenset[int] = DEFAULT_EXPIRED_STATUSES | {
        GRPC_REFUSALS[each] for each in DEFAULT_EXPIRED_GRPC
    }

    def told_by(self, *, grpc: bool) -> Reservation:
        """The same for calls of one protocol, whose statuses alone it keeps."""
        statuses = frozenset(each for each in self.expired_statuses if (each <= GRPC_MAX) == grpc)
        return replace(self, expired_statuses=statuses)

    @property
    def decide_within(self) -> timedelta:
        """How old a transaction with such a branch may be when its outcome is taken.

        Counted from the transaction's beginning, which is never later than the try, so that one clock
        is enough to tell.
        """
        return self.duration - self.margin


class Order(StrEnum):
    """When a saga's step is compensated, against the other steps."""

    REVERSE = "ReverseOfCompletion"
    """After every step that was done later, and after those of which that is not known."""
    DEPENDENCIES = "Dependencies"
    """After the steps that depend on it."""
    TOGETHER = "AllAtOnce"
    """At once."""


@dataclass(frozen=True, slots=True)
class Step:
    """The place of a branch in a saga; ``depends_on`` are names of steps, of any app."""

    name: str
    order: Order = Order.REVERSE
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calls:
    """The two calls that a branch may end with, and by which rules they are made.

    ``on_commit`` and ``on_rollback`` are paths of the application (empty: that outcome asks for no
    call). ``success_statuses`` are the answers that mean done; ``refusals_max`` is how many refusals
    in a row make a conflict. ``guarded`` branches are called only if their work was let through.
    ``by`` tells one registration from another of the same branch.
    """

    on_commit: str
    on_rollback: str
    request: Request = Request()
    timeout: timedelta = DEFAULT_CALL_TIMEOUT
    success_statuses: frozenset[int] = DEFAULT_SUCCESS_STATUSES
    refusals_max: int = DEFAULT_REFUSALS
    guarded: bool = True
    by: str = ""
    reservation: Reservation | None = None
    """Set where what was tried ends by itself."""
    step: Step | None = None
    """Set where the branch is a step of a saga."""
    traced: bool = False
    """Whether statements that name the trace of its request, or of a call, write its guard rows."""
