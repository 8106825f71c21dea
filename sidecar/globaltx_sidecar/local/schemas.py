"""What the local API is asked, field by field; the same descriptions check requests and document them."""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_TIMEOUT
from globaltx.manifest.schemas.branches import (
    HEADER_LENGTH_MAX,
    HEADERS_MAX,
    PLACE_MAX,
    QUERY_LENGTH_MAX,
)
from globaltx.manifest.schemas.calls import CALL_SECONDS_MAX, REFUSALS_MAX, depends_on, order, statuses
from globaltx.manifest.schemas.egress import PATH, PATH_LENGTH_MAX
from globaltx.manifest.schemas.fields import Schema, choice, fields, flag, several, text, whole
from globaltx.manifest.schemas.notify import notify
from globaltx.manifest.schemas.routes import METHODS
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX
from globaltx.modes import BUILT
from globaltx.transaction.calls import (
    BODY_BYTES_MAX,
    DEFAULT_CALL_TIMEOUT,
    DEFAULT_REFUSALS,
    DEFAULT_SUCCESS_STATUSES,
    Order,
)
from globaltx.transaction.model import MESSAGE_LENGTH_MAX, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import XID_LENGTH_MAX

NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
KEY_LENGTH_MAX = 255


def begin() -> Schema:
    """What is said to begin a transaction."""
    return fields(
        "A transaction to begin.",
        {
            "timeoutSeconds": whole(
                "How long it may stay undecided; then it is rolled back.",
                1,
                TIMEOUT_SECONDS_MAX,
                default=int(DEFAULT_TIMEOUT.total_seconds()),
            ),
            "mode": choice(
                "What is shown as its mode; each branch has its own.", BUILT, default=str(Mode.AT)
            ),
            "notify": {
                **notify(
                    "Who is told the outcome, each by a name of its own; notify.egress of the pod's policy "
                    "must allow the URLs."
                ),
                "default": [],
            },
        },
    )


def decision() -> Schema:
    """What is said to take an outcome."""
    return fields(
        "Why the outcome is taken.",
        {"message": text("A sentence for people, kept with the outcome.", MESSAGE_LENGTH_MAX, default="")},
    )


def branch() -> Schema:
    """What is said to register a branch of TCC, or a step of a saga."""
    return fields(
        "A branch that is ended by calls to the application beside the sidecar: a try, with confirm and "
        "cancel, or a step, with compensate.",
        {
            "name": text(
                "What is tried; the branch's resource begins with it.", 46, minLength=1, pattern=NAME
            ),
            "key": text(
                "Tells this branch from others of the name in the transaction: the same key is the same "
                "branch. Without one each registration is a branch of its own.",
                KEY_LENGTH_MAX,
                default="",
            ),
            "confirm": text("The path that is called on Commit.", PATH_LENGTH_MAX, pattern=PATH),
            "cancel": text("The path that is called on Rollback.", PATH_LENGTH_MAX, pattern=PATH),
            "compensate": text(
                "Of a step: the path that is called on Rollback. Give this, or confirm and cancel.",
                PATH_LENGTH_MAX,
                pattern=PATH,
            ),
            "order": order(default=str(Order.REVERSE)),
            "dependsOn": {**depends_on(), "default": []},
            "timeoutSeconds": whole(
                "How long one call may take.",
                1,
                CALL_SECONDS_MAX,
                default=int(DEFAULT_CALL_TIMEOUT.total_seconds()),
            ),
            "successStatuses": statuses(
                "Statuses that mean that a call is done.", default=sorted(DEFAULT_SUCCESS_STATUSES)
            ),
            "conflictAfterRefusals": whole(
                "After how many refusals in a row it is in Conflict.",
                1,
                REFUSALS_MAX,
                default=DEFAULT_REFUSALS,
            ),
            "request": request(),
        },
        required=["name"],
    )


def request() -> Schema:
    """What the calls carry."""
    header = fields(
        "A header.",
        {
            "name": text("Its name.", 64, minLength=1, pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"),
            "value": text("Its value, ASCII.", HEADER_LENGTH_MAX, pattern=r"^[\t\x20-\x7e]*$"),
        },
        required=["name", "value"],
    )
    return fields(
        "What the calls carry.",
        {
            "method": choice("Their method.", METHODS, default="POST"),
            "query": text(
                "Their query, without the question mark.", QUERY_LENGTH_MAX, default="", pattern=r"^[!-~]*$"
            ),
            "headers": several("Their headers.", header, HEADERS_MAX, default=[]),
            "body": text("Their body, as text.", BODY_BYTES_MAX, default=""),
        },
        default={},
    )


def status() -> Schema:
    """How a transaction stands."""
    outcome = choice("Its outcome.", Outcome, nullable=True)
    state = choice("Where it stands.", State)
    return fields(
        "How a transaction stands.",
        {
            "xid": text("Its xid.", XID_LENGTH_MAX),
            "state": state,
            "outcome": outcome,
            "reason": text("Why that outcome, as one word.", 63),
            "message": text("Why, as a sentence.", MESSAGE_LENGTH_MAX),
            "branches": several(
                "Its branches.",
                fields(
                    "One branch.",
                    {
                        "app": text("The app.", 63),
                        "resource": text("What was changed.", 63),
                        "mode": choice("How it is undone.", Mode),
                        "state": state,
                        "outcome": outcome,
                        "reason": text("Why it stands so, as one word.", 63),
                        "message": text("Why, as a sentence.", MESSAGE_LENGTH_MAX),
                    },
                ),
                10**6,
            ),
        },
    )


def begun() -> Schema:
    """A transaction that has begun."""
    return fields("The transaction.", {"xid": text("Its xid.", XID_LENGTH_MAX)}, required=["xid"])


def taken() -> Schema:
    """An outcome that stands."""
    return fields(
        "The outcome that stands.",
        {
            "xid": text("The transaction's xid.", XID_LENGTH_MAX),
            "outcome": choice("The outcome.", Outcome),
            "reason": text("Why, as one word.", 63),
        },
    )


def joined() -> Schema:
    """A branch that is durable."""
    return fields(
        "A branch that is durable.",
        {
            "xid": text("The transaction's xid.", XID_LENGTH_MAX),
            "branch": text("Its name; the calls carry it in the header globaltx-branch.", 128),
            "repeated": flag("Whether it was registered before, with this key."),
        },
    )


def completed() -> Schema:
    """A step that is known to be done."""
    return fields(
        "The step.",
        {
            "xid": text("The transaction's xid.", XID_LENGTH_MAX),
            "branch": text("Its name.", 128),
            "place": whole("Its place among the steps that were done.", 1, PLACE_MAX),
        },
    )


def refusal() -> Schema:
    """Why something was not done."""
    return fields(
        "Why it was not done.",
        {
            "error": text("Always globaltx.", 16),
            "reason": text("The reason, as one word of docs/resources.md.", 63),
            "message": text("What was wrong and what to do.", 4096),
            "xid": text("The transaction, where there is one.", XID_LENGTH_MAX),
            "outcome": choice("Its outcome, where it is known.", Outcome, nullable=True),
        },
        required=["error", "reason", "message"],
    )
