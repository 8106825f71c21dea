"""The schema of GlobalTransaction.

``spec`` is what is wanted: all of it is fixed at the beginning, but for the outcome, which is set
once, by whoever comes first. The rules below are what refuses the second.
"""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_TIMEOUT, DEFAULT_TTL
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.manifest.schemas.declared import saga, steps_status
from globaltx.manifest.schemas.fields import (
    LABEL_VALUE,
    REASON,
    Schema,
    choice,
    conditions,
    fields,
    frozen,
    moment,
    rule,
    text,
    whole,
)
from globaltx.manifest.schemas.notify import notifications_status, notify
from globaltx.transaction.model import APP_LENGTH_MAX, MESSAGE_LENGTH_MAX, Mode
from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.transaction.xid import NAME_LENGTH_MAX

_DAY = 24 * 60 * 60
TIMEOUT_SECONDS_MAX = 7 * _DAY
TTL_SECONDS_MAX = 365 * _DAY
_FIXED = "is fixed when the transaction begins; only outcome may be set, once"

NEVER_BEGUN = "1970-01-01T00:00:00Z"
"""When a default condition "changed": nobody wrote it yet."""


def schema() -> Schema:
    """The whole object."""
    return fields(
        "A business operation across services that is committed or undone as a whole. Its xid, which "
        "services hand on, is <namespace>.<name>.",
        {"spec": spec(), "status": status()},
        required=["spec"],
        **{
            "x-kubernetes-validations": [
                rule(
                    f"size(self.metadata.name) <= {NAME_LENGTH_MAX} && !self.metadata.name.contains('.')",
                    f"metadata.name must have at most {NAME_LENGTH_MAX} characters and no dot: "
                    "it is the second half of the xid <namespace>.<name>",
                ),
                rule(
                    end_needs("Committed", "Commit"),
                    "status.state is Committed only if spec.outcome is Commit; set the outcome first",
                ),
                rule(
                    end_needs("RolledBack", "Rollback"),
                    "status.state is RolledBack only if spec.outcome is Rollback; set the outcome first",
                ),
            ]
        },
    )


def end_needs(end: str, outcome: str) -> str:
    """CEL: this end was reached only with this outcome."""
    return (
        f"!has(self.status) || !has(self.status.state) || self.status.state != '{end}' || "
        f"(has(self.spec.outcome) && self.spec.outcome == '{outcome}')"
    )


def state() -> Schema:
    """``status.state``: an end is never left."""
    stays = rule(
        f"!(oldSelf in [{', '.join(repr(str(end)) for end in sorted(ENDS))}]) || self == oldSelf",
        "'state is ' + oldSelf + ', which is an end and is never left'",
        computed=True,
    )
    return choice(
        "Where it stands: Active until the outcome is set, then Committing or RollingBack, and at the end "
        "Committed, RolledBack, or Conflict when a person must decide.",
        State,
        **{"x-kubernetes-validations": [stays]},
    )


def spec() -> Schema:
    """What is wanted."""
    return fields(
        "What is wanted. All of it is fixed when the transaction begins, but for the outcome.",
        {
            "mode": frozen(
                choice("How branches are undone unless they say otherwise.", Mode, default=str(Mode.AT)),
                f"mode {_FIXED}",
            ),
            "policy": text(
                "The TransactionPolicy whose route began it; empty when a program began it itself.",
                NAME_LENGTH_MAX,
                pattern=LABEL_VALUE,
            ),
            "initiator": frozen(
                text("The app whose request began it.", APP_LENGTH_MAX, minLength=1, pattern=LABEL_VALUE),
                f"initiator {_FIXED}",
            ),
            "begunBy": text("Tells the request that began it from its repeats.", 320),
            "timeoutSeconds": frozen(
                whole(
                    "How long after its creation it may stay undecided; then it is rolled back.",
                    1,
                    TIMEOUT_SECONDS_MAX,
                    default=int(DEFAULT_TIMEOUT.total_seconds()),
                ),
                f"timeoutSeconds {_FIXED}",
            ),
            "ttlSecondsAfterFinished": frozen(
                whole(
                    "How long it is kept after all branches have settled. In Conflict it is kept for good.",
                    0,
                    TTL_SECONDS_MAX,
                    default=int(DEFAULT_TTL.total_seconds()),
                ),
                f"ttlSecondsAfterFinished {_FIXED}",
            ),
            "saga": saga(),
            "notify": notify("Who is told the outcome once it is taken; best effort, nothing waits for it."),
            "pivotAt": moment(
                "When the pivot of the saga was called first; from then on no deadline takes Rollback."
            ),
            "outcome": choice(
                "What becomes of it, set once and never changed: by the initiator's sidecar, by the operator "
                "at the deadline or at deletion, or by a person (then together with outcomeReason).",
                Outcome,
            ),
            "outcomeReason": text(
                "Why this outcome, as one word; required with outcome.", 63, pattern=REASON, minLength=1
            ),
            "outcomeMessage": text("Why this outcome, as a sentence.", MESSAGE_LENGTH_MAX),
            "decidedBy": text("Who set the outcome (a pod, the operator, a person's name).", 253),
        },
        required=["initiator"],
        **{"x-kubernetes-validations": _spec_rules()},
    )


def _spec_rules() -> list[dict[str, str]]:
    return [
        rule(
            "!has(oldSelf.outcome) || (has(self.outcome) && self.outcome == oldSelf.outcome)",
            "'the outcome ' + oldSelf.outcome + ' is taken and is never changed; '"
            " + 'to do the opposite, begin a new transaction'",
            computed=True,
        ),
        rule(
            "has(self.outcome) == has(self.outcomeReason)",
            "set outcome and outcomeReason together; a person sets outcomeReason to "
            f"{Reason.DECIDED_BY_PERSON} and may tell more in outcomeMessage",
        ),
        rule(
            "has(self.outcome) || (!has(self.outcomeMessage) && !has(self.decidedBy))",
            "outcomeMessage and decidedBy go with an outcome; set outcome and outcomeReason too",
        ),
        *(_kept_with_outcome(name) for name in ("outcomeReason", "outcomeMessage", "decidedBy")),
        rule(
            "has(self.policy) == has(oldSelf.policy) && (!has(self.policy) || self.policy == oldSelf.policy)",
            f"policy {_FIXED}",
        ),
        rule(
            "has(self.begunBy) == has(oldSelf.begunBy) && "
            "(!has(self.begunBy) || self.begunBy == oldSelf.begunBy)",
            f"begunBy {_FIXED}",
        ),
        rule(
            "has(self.saga) == has(oldSelf.saga) && (!has(self.saga) || self.saga == oldSelf.saga)",
            f"saga {_FIXED}",
        ),
        rule(
            "!has(self.saga) || (self.mode == 'Saga' && has(self.policy) && self.policy != '')",
            "a declared saga needs mode Saga, and policy: the one whose saga.egress allows its URLs",
        ),
        rule(
            "has(self.notify) == has(oldSelf.notify) && (!has(self.notify) || self.notify == oldSelf.notify)",
            f"notify {_FIXED}",
        ),
        *_pivot_rules(),
    ]


def _pivot_rules() -> list[dict[str, str]]:
    return [
        rule(
            "!has(oldSelf.pivotAt) || (has(self.pivotAt) && self.pivotAt == oldSelf.pivotAt)",
            "pivotAt is set once",
        ),
        rule(
            "has(self.pivotAt) == has(oldSelf.pivotAt) || !has(self.outcome)",
            "the outcome is taken; the pivot must not be called any more",
        ),
        rule(
            "!has(self.pivotAt) || has(oldSelf.outcome) || !has(self.outcome) || "
            "!(self.outcomeReason in ['DeadlineExceeded', 'DeletionRequested'])",
            "the pivot is being called; only its answer or a person decides now",
        ),
    ]


def _kept_with_outcome(name: str) -> dict[str, str]:
    return rule(
        f"!has(oldSelf.outcome) || (has(self.{name}) == has(oldSelf.{name}) && "
        f"(!has(self.{name}) || self.{name} == oldSelf.{name}))",
        f"{name} was set with the outcome and never changes",
    )


def active_condition() -> dict[str, str]:
    """What the condition says before anybody wrote it, so that a short transaction costs no write."""
    return {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": str(Reason.ACTIVE),
        "message": SENTENCES[Reason.ACTIVE],
        "lastTransitionTime": NEVER_BEGUN,
    }


def status() -> Schema:
    """What was found."""
    return fields(
        "What was found; written by the operator.",
        {
            "state": state(),
            "branches": text("Settled branches of all branches, such as 2/3.", 24),
            "branchesTotal": whole("How many branches it has.", 0, 10**6),
            "branchesSettled": whole("How many of them have carried the outcome out.", 0, 10**6),
            "resolutions": whole("How many decisions of people about rows in conflict were told.", 0, 10**6),
            "steps": steps_status(),
            "notifications": notifications_status(),
            "decidedAt": moment("When the operator saw the outcome."),
            "settledAt": moment("When the last branch was seen settled."),
            "duration": text("From its creation until it was settled, such as 1.2s.", 24),
            "message": text("How it stands, as a sentence: what is waited for, or why it ended so.", 1024),
            "conditions": conditions(
                "Succeeded: Unknown while it is under way, True when committed, False when rolled back or in "
                "Conflict. Notified: whether all who wanted to be told the outcome were, where some did."
            ),
        },
        default={"state": str(State.ACTIVE), "conditions": [active_condition()]},
    )
