"""The schema of Branch: what one app does in one resource under one transaction."""

from __future__ import annotations

from globaltx.manifest.schemas.calls import CALL_SECONDS_MAX, REFUSALS_MAX, depends_on, order, statuses
from globaltx.manifest.schemas.conflicts import (
    conflict_status,
    only_in_conflict,
    resolutions,
    resolutions_in_spec,
)
from globaltx.manifest.schemas.declared import step_status
from globaltx.manifest.schemas.egress import PATH, PATH_LENGTH_MAX
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    LABEL_VALUE,
    Schema,
    choice,
    conditions,
    fields,
    flag,
    frozen,
    moment,
    rule,
    several,
    text,
    whole,
)
from globaltx.manifest.schemas.notify import attempts_status, notification
from globaltx.manifest.schemas.routes import METHODS
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX, active_condition, end_needs, state
from globaltx.transaction.calls import BODY_BYTES_MAX
from globaltx.transaction.model import APP_LENGTH_MAX, MESSAGE_LENGTH_MAX, RESOURCE_LENGTH_MAX, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import NAME_LENGTH_MAX

_FIXED = "is fixed when the branch is registered; only outcome may be set, once"
QUERY_LENGTH_MAX = 8 * 1024
HEADERS_MAX = 32
HEADER_LENGTH_MAX = 4 * 1024
PLACE_MAX = 10**6


def _not_late(field: str) -> str:
    """CEL: this field of the status is not set any more once the branch was told its outcome."""
    new, old = f"self.status.{field}", f"oldSelf.status.{field}"
    return f"!has(self.spec.outcome) || has({new}) == has({old}) && (!has({new}) || {new} == {old})"


def schema() -> Schema:
    """The whole object."""
    return fields(
        "What one app does in one resource (a database schema) under one GlobalTransaction. A sidecar "
        "registers it before the app's local commit, and carries the outcome out.",
        {"spec": spec(), "status": status()},
        required=["spec"],
        **{
            "x-kubernetes-validations": [
                rule(
                    end_needs("Committed", "Commit"),
                    "status.state is Committed only if spec.outcome is Commit; the outcome comes first",
                ),
                rule(
                    end_needs("RolledBack", "Rollback"),
                    "status.state is RolledBack only if spec.outcome is Rollback; the outcome comes first",
                ),
                rule(
                    _not_late("startedAt"),
                    "the branch was told its outcome; its work must not be let through any more",
                ),
                rule(
                    _not_late("completed"),
                    "the branch was told its outcome; the order of the steps stands",
                ),
                *only_in_conflict(),
            ]
        },
    )


def spec() -> Schema:
    """What is wanted."""
    return fields(
        "What is wanted. All of it is fixed at registration, but for the outcome and what people decide.",
        {
            "transaction": frozen(
                text(
                    "The GlobalTransaction in the same namespace.",
                    NAME_LENGTH_MAX,
                    minLength=1,
                    pattern=DNS_LABEL,
                ),
                f"transaction {_FIXED}",
            ),
            "app": frozen(
                text(
                    "The app whose sidecars carry the outcome out.",
                    APP_LENGTH_MAX,
                    minLength=1,
                    pattern=LABEL_VALUE,
                ),
                f"app {_FIXED}",
            ),
            "resource": frozen(
                text(
                    "What was changed: the name of a datasource of the app's policies, or of a route, "
                    "with a mark that tells its requests apart.",
                    RESOURCE_LENGTH_MAX,
                    minLength=1,
                ),
                f"resource {_FIXED}",
            ),
            "mode": frozen(
                choice("How it is undone.", Mode, default=str(Mode.AT)),
                f"mode {_FIXED}",
            ),
            "calls": calls(),
            "conducted": flag(
                "Whether it is a step of the saga that its transaction declares, carried out by whoever "
                "conducts that; its resource is the name of the step."
            ),
            "notification": notification(),
            "outcome": choice(
                "The transaction's outcome, stamped by the operator; set once and never changed.", Outcome
            ),
            "resolutions": resolutions(),
        },
        required=["transaction", "app", "resource"],
        **{
            "x-kubernetes-validations": [
                rule(
                    "!has(oldSelf.outcome) || (has(self.outcome) && self.outcome == oldSelf.outcome)",
                    "'the outcome ' + oldSelf.outcome + ' of this branch is taken and is never changed; '"
                    " + 'it is the outcome of GlobalTransaction ' + self.transaction",
                    computed=True,
                ),
                rule(
                    "has(self.calls) == has(oldSelf.calls) && "
                    "(!has(self.calls) || self.calls == oldSelf.calls)",
                    f"calls {_FIXED}",
                ),
                rule(
                    "has(self.notification) == has(oldSelf.notification) && "
                    "(!has(self.notification) || self.notification == oldSelf.notification)",
                    f"notification {_FIXED}",
                ),
                rule("has(self.conducted) == has(oldSelf.conducted)", f"conducted {_FIXED}"),
                *resolutions_in_spec(),
            ]
        },
    )


def calls() -> Schema:
    """What the application is asked for at the end."""
    return fields(
        "What the application is asked for by HTTP when the outcome is known, by the rules of the policy as "
        "it stood at registration; for modes that work by calls.",
        {
            "onCommit": text(
                "The path that is called on Commit; empty: none.", PATH_LENGTH_MAX, pattern=rf"{PATH}|^$"
            ),
            "onRollback": text(
                "The path that is called on Rollback; empty: none.", PATH_LENGTH_MAX, pattern=rf"{PATH}|^$"
            ),
            "timeoutSeconds": whole("How long one call may take.", 1, CALL_SECONDS_MAX),
            "successStatuses": statuses("Statuses that mean that the call is done; others are repeated."),
            "conflictAfterRefusals": whole(
                "After how many refusals in a row the branch is in Conflict.", 1, REFUSALS_MAX
            ),
            "guard": flag("Whether the calls are left out when the request was never let through."),
            "guardByTrace": flag("Whether statements write its guard rows by the trace that they name."),
            "registeredBy": text("Tells one registration from another.", 320),
            "request": request(),
            "reservation": reservation(),
            "step": step(),
        },
        required=[
            "onCommit",
            "onRollback",
            "timeoutSeconds",
            "successStatuses",
            "conflictAfterRefusals",
            "guard",
        ],
    )


def reservation() -> Schema:
    """What ends by itself."""
    return fields(
        "What the request has reserved, where that ends by itself.",
        {
            "seconds": whole("How long it holds, from the request on.", 1, TIMEOUT_SECONDS_MAX),
            "marginSeconds": whole("How much of that is left for confirming.", 0, TIMEOUT_SECONDS_MAX),
            "expiredStatuses": statuses("Statuses of the call that mean that it has run out.", grpc=True),
            "state": text("The path that tells what became of it.", PATH_LENGTH_MAX, pattern=PATH),
        },
        required=["seconds", "marginSeconds", "expiredStatuses", "state"],
    )


def step() -> Schema:
    """The place in a saga."""
    return fields(
        "The place of the branch in a saga: when it is compensated, against the other steps.",
        {
            "name": text("The name of the step.", RESOURCE_LENGTH_MAX, minLength=1),
            "order": order(),
            "dependsOn": depends_on(),
        },
        required=["name", "order", "dependsOn"],
    )


def request() -> Schema:
    """The request that the calls repeat."""
    header = fields(
        "A header.",
        {
            "name": text("Its name.", 256, minLength=1),
            "value": text("Its value.", HEADER_LENGTH_MAX),
        },
        required=["name", "value"],
    )
    return fields(
        "The request that made the branch, as far as the calls repeat it.",
        {
            "method": choice("Its method.", METHODS),
            "query": text("Its query, without the question mark.", QUERY_LENGTH_MAX),
            "headers": several("Those of its headers that the policy names.", header, HEADERS_MAX),
            "body": text("Its body in base64.", (BODY_BYTES_MAX + 2) // 3 * 4),
        },
    )


def status() -> Schema:
    """What was found."""
    return fields(
        "What was found; written by the sidecars of the app.",
        {
            "state": state(),
            "reason": text("Why it stands so, as one word; docs/resources.md has a sentence for each.", 63),
            "message": text("Why it stands so, as a sentence.", MESSAGE_LENGTH_MAX),
            "startedAt": moment("When the request that made the branch was let through."),
            "completed": whole("The place of a step among those that were done.", 1, PLACE_MAX),
            "step": step_status(),
            "attempts": attempts_status(),
            **conflict_status(),
            "settledAt": moment("When the outcome was carried out."),
            "conditions": conditions(
                "Succeeded: Unknown while it is under way, True when committed, False when rolled back or in "
                "Conflict."
            ),
        },
        default={"state": str(State.ACTIVE), "conditions": [active_condition()]},
    )
