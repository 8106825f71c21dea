"""The schema of Branch: what one app does in one resource under one transaction."""

from __future__ import annotations

from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    LABEL_VALUE,
    Schema,
    choice,
    conditions,
    fields,
    frozen,
    moment,
    rule,
    text,
)
from globaltx.manifest.schemas.transactions import active_condition, end_needs, state
from globaltx.transaction.model import APP_LENGTH_MAX, MESSAGE_LENGTH_MAX, RESOURCE_LENGTH_MAX, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import NAME_LENGTH_MAX

_FIXED = "is fixed when the branch is registered; only outcome may be set, once"


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
            ]
        },
    )


def spec() -> Schema:
    """What is wanted."""
    return fields(
        "What is wanted. All of it is fixed at registration, but for the outcome.",
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
                    "The resource that was changed: the name of a datasource of the app's policies.",
                    RESOURCE_LENGTH_MAX,
                    minLength=1,
                ),
                f"resource {_FIXED}",
            ),
            "mode": frozen(
                choice("How it is undone.", Mode, default=str(Mode.AT)),
                f"mode {_FIXED}",
            ),
            "outcome": choice(
                "The transaction's outcome, stamped by the operator; set once and never changed.", Outcome
            ),
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
            ]
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
            "settledAt": moment("When the outcome was carried out."),
            "conditions": conditions(
                "Succeeded: Unknown while it is under way, True when committed, False when rolled back or in "
                "Conflict."
            ),
        },
        default={"state": str(State.ACTIVE), "conditions": [active_condition()]},
    )
