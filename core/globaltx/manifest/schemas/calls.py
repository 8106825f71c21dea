"""What a TransactionPolicy says of the calls that end what a request did: tcc, tcd and saga of its route."""

from __future__ import annotations

from typing import Any

from globaltx.coordinator.policy import DEFAULT_HEADERS
from globaltx.manifest.schemas.egress import PATH, PATH_LENGTH_MAX
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    Schema,
    choice,
    fields,
    flag,
    rule,
    several,
    text,
    whole,
)
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX
from globaltx.transaction.calls import (
    DEFAULT_CALL_TIMEOUT,
    DEFAULT_EXPIRED_GRPC,
    DEFAULT_EXPIRED_STATUSES,
    DEFAULT_MARGIN,
    DEFAULT_REFUSALS,
    DEFAULT_SUCCESS_STATUSES,
    GRPC_REFUSALS,
    Order,
)
from globaltx.transaction.model import RESOURCE_LENGTH_MAX

CALL_SECONDS_MAX = 300
DEPENDS_MAX = 32
REFUSALS_MAX = 1000
HEADERS_MAX = 32
HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_KEPT_FROM_CALLS = (
    *("authorization", "cookie", "proxy-authorization", "host", "content-length", "transfer-encoding"),
    *("connection", "expect", "upgrade", "te", "trailer", "keep-alive", "xid", "x-dbpack-xid", "baggage"),
)
_VARIABLES = "may hold variables of the route's pathTemplate"
HEADERS_SENTENCE = (
    "headers are kept in the Branch for everybody who may read it, so those that hold secrets must not be "
    "named, nor those of the connection or of globaltx"
)
MARGIN_SENTENCE = (
    "compensationMarginSeconds must be less than reservationSeconds: what is left is the time to decide in"
)
EXPIRED_SENTENCE = (
    "a status of expiredStatuses must not be one of successStatuses too: a confirm that came too late would "
    "count as done"
)
DEPENDS_SENTENCE = "dependsOn says something with order Dependencies only; set that order, or leave it out"


def tcc() -> Schema:
    """The calls that end what a route's requests try."""
    return fields(
        "The request is a try: it reserves. The application is called with the try's own method, query and "
        "body to confirm or to cancel it, until it answers as is said here.",
        {
            "confirm": text(
                f"The path that is called on Commit; {_VARIABLES}.", PATH_LENGTH_MAX, pattern=PATH
            ),
            "cancel": text(
                f"The path that is called on Rollback; {_VARIABLES}.", PATH_LENGTH_MAX, pattern=PATH
            ),
            **_calls(),
            "guard": flag(
                "Whether the sidecar keeps from the application cancels of what was never tried, tries that "
                "come after their cancel, and repeats of what was answered.",
                default=True,
            ),
        },
        required=["confirm", "cancel"],
    )


def tcd() -> Schema:
    """The call that makes real what a route's requests reserve for a time."""
    return fields(
        "The request is a try of a reservation that ends by itself: it is confirmed as with tcc, and never "
        "cancelled. A confirm that comes too late puts branch and transaction in Conflict.",
        {
            "confirm": text(
                f"The path that is called on Commit; {_VARIABLES}.", PATH_LENGTH_MAX, pattern=PATH
            ),
            "state": text(
                "The path that tells, asked by GET, what became of a reservation; of a try by gRPC a method, "
                f"which is called with an empty message; {_VARIABLES}.",
                PATH_LENGTH_MAX,
                pattern=PATH,
            ),
            "reservationSeconds": whole(
                "How long the application keeps a reservation at least, from the try on.",
                1,
                TIMEOUT_SECONDS_MAX,
            ),
            "compensationMarginSeconds": whole(
                "How much of that is left for confirming: a transaction that is as old as the rest and "
                "undecided is rolled back.",
                0,
                TIMEOUT_SECONDS_MAX,
                default=int(DEFAULT_MARGIN.total_seconds()),
            ),
            "expiredStatuses": statuses(
                "Statuses of confirm that mean that the reservation has run out.",
                default=sorted(DEFAULT_EXPIRED_STATUSES),
            ),
            "expiredGrpcStatuses": several(
                "The same of calls of gRPC.",
                choice("The name of a grpc-status that refuses.", GRPC_REFUSALS),
                len(GRPC_REFUSALS),
                minItems=1,
                default=list(DEFAULT_EXPIRED_GRPC),
                **{"x-kubernetes-list-type": "set"},
            ),
            **_calls(),
        },
        required=["confirm", "state", "reservationSeconds"],
        **{
            "x-kubernetes-validations": [
                rule("self.compensationMarginSeconds < self.reservationSeconds", MARGIN_SENTENCE),
                rule("!self.expiredStatuses.exists(each, each in self.successStatuses)", EXPIRED_SENTENCE),
            ]
        },
    )


def saga() -> Schema:
    """The call that takes back what a route's requests do."""
    return fields(
        "The request is a step of a saga: what it does stands at once. On Rollback the application is called "
        "with the step's own method, query and body to take it back, until it answers as is said here.",
        {
            "compensate": text(
                f"The path that is called on Rollback; {_VARIABLES}.", PATH_LENGTH_MAX, pattern=PATH
            ),
            "order": order(default=str(Order.REVERSE)),
            "dependsOn": depends_on(),
            **_calls(),
            "guard": flag(
                "Whether the sidecar keeps from the application compensations of what was never done, steps "
                "that come after their compensation, and repeats of what was answered.",
                default=True,
            ),
        },
        required=["compensate"],
        **{
            "x-kubernetes-validations": [
                rule("!has(self.dependsOn) || self.order == 'Dependencies'", DEPENDS_SENTENCE)
            ]
        },
    )


def order(**more: Any) -> Schema:
    """When a step is compensated."""
    return choice(
        "When the step is compensated: ReverseOfCompletion after every step of the transaction that was "
        "done later; Dependencies after the steps that depend on it; AllAtOnce at once.",
        Order,
        **more,
    )


def depends_on() -> Schema:
    """Which steps a step builds on."""
    name = text("The name of a route, of any app.", RESOURCE_LENGTH_MAX, minLength=1, pattern=DNS_LABEL)
    return several(
        "The steps that this one builds on: they are compensated after it.",
        name,
        DEPENDS_MAX,
        **{"x-kubernetes-list-type": "set"},
    )


def _calls() -> dict[str, Schema]:
    """How the application is called, whatever for."""
    headers = text("The name of a header.", 64, minLength=1, pattern=HEADER)
    return {
        "timeoutSeconds": whole(
            "How long one call may take before it is given up and repeated.",
            1,
            CALL_SECONDS_MAX,
            default=int(DEFAULT_CALL_TIMEOUT.total_seconds()),
        ),
        "successStatuses": statuses(
            "Statuses of the calls that mean done; every other one is repeated.",
            default=sorted(DEFAULT_SUCCESS_STATUSES),
        ),
        "conflictAfterRefusals": whole(
            "After how many refusals in a row (answers that mean neither done nor later, such as 404) "
            "the branch is shown in Conflict. It is called again now and then all the same.",
            1,
            REFUSALS_MAX,
            default=DEFAULT_REFUSALS,
        ),
        "headers": several(
            "Headers of the try that the calls carry too. They are kept in the Branch.",
            headers,
            HEADERS_MAX,
            default=list(DEFAULT_HEADERS),
            **{
                "x-kubernetes-list-type": "set",
                "x-kubernetes-validations": [
                    rule(
                        f"self.all(h, !(h.lowerAscii() in {list(_KEPT_FROM_CALLS)}) && "
                        "!h.lowerAscii().startsWith('globaltx-'))",
                        HEADERS_SENTENCE,
                    )
                ],
            },
        ),
    }


def statuses(description: str, *, grpc: bool = False, **more: Any) -> Schema:
    """A set of HTTP statuses, or of those of calls in either protocol."""
    status = (
        whole("A grpc-status, or an HTTP status.", 0, 599) if grpc else whole("An HTTP status.", 100, 599)
    )
    return several(description, status, 32, minItems=1, **more, **{"x-kubernetes-list-type": "set"})


def may_repeat(header: str) -> bool:
    """Whether a header of a try may be kept and repeated."""
    return header not in _KEPT_FROM_CALLS and not header.startswith("globaltx-")
