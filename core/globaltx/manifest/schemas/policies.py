"""The schema of TransactionPolicy: which requests begin transactions, which databases take part.

What a rule of the API server says about one policy, ``globaltx.manifest.policy`` says offline too,
and about several policies together.
"""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_LOCK_WAIT, DEFAULT_TTL, Projection
from globaltx.manifest.schemas.datasources import datasources
from globaltx.manifest.schemas.egress import egress
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    LABEL_VALUE,
    Schema,
    choice,
    conditions,
    fields,
    flag,
    rule,
    text,
    whole,
)
from globaltx.manifest.schemas.notify import notifying
from globaltx.manifest.schemas.routes import routes
from globaltx.manifest.schemas.transactions import TTL_SECONDS_MAX

POLICY_NAME_LENGTH_MAX = 63
LOCK_WAIT_MILLISECONDS_MAX = 60_000
NOTHING_SENTENCE = (
    "the policy does nothing: give it http (requests that begin transactions), datasources (databases that "
    "take part), saga (where declared sagas may call), notify (where outcomes may be told), or several"
)


def schema() -> Schema:
    """The whole object."""
    return fields(
        "Tells for pods of its namespace which HTTP requests begin a global transaction and which databases "
        "take part. All policies that select a pod hold together; it is read when a pod is admitted.",
        {"spec": spec(), "status": status()},
        required=["spec"],
        **{
            "x-kubernetes-validations": [
                rule(
                    f"size(self.metadata.name) <= {POLICY_NAME_LENGTH_MAX}",
                    f"metadata.name must have at most {POLICY_NAME_LENGTH_MAX} characters, "
                    "because transactions carry it as a label",
                )
            ]
        },
    )


def spec() -> Schema:
    """What is wanted."""
    return fields(
        "What is wanted.",
        {
            "selector": selector(),
            "http": http(),
            "datasources": datasources(),
            "saga": conducting(),
            "notify": notifying(),
            "lockWaitMilliseconds": whole(
                "How long a statement waits for a row that another undecided transaction has changed.",
                0,
                LOCK_WAIT_MILLISECONDS_MAX,
                default=int(DEFAULT_LOCK_WAIT.total_seconds() * 1000),
            ),
            "ttlSecondsAfterFinished": whole(
                "How long transactions that begin by this policy are kept after they have settled.",
                0,
                TTL_SECONDS_MAX,
                default=int(DEFAULT_TTL.total_seconds()),
            ),
            "projection": choice(
                "Which transactions that begin by this policy are shown as resources where they are kept in "
                "an etcd: All (until they are forgotten), Unsettled (until they have ended), or None.",
                Projection,
                default=str(Projection.UNSETTLED),
            ),
        },
        **{
            "x-kubernetes-validations": [
                rule(
                    "has(self.http) || has(self.datasources) || has(self.saga) || has(self.notify)",
                    NOTHING_SENTENCE,
                )
            ]
        },
    )


def conducting() -> Schema:
    """Declared sagas."""
    return fields(
        "Lets the pods conduct declared sagas: GlobalTransactions with spec.saga that name this policy and "
        "their app as the initiator.",
        {"egress": egress("Where the steps of such a saga may be called; nowhere else.")},
        required=["egress"],
    )


def selector() -> Schema:
    """Which pods."""
    return fields(
        "The pods that the policy is for; without it, all pods of the namespace that ask for injection.",
        {
            "matchLabels": {
                "type": "object",
                "description": "Labels that a pod must have, all of them.",
                "maxProperties": 16,
                "additionalProperties": text("The value of the label.", 63, pattern=LABEL_VALUE),
            }
        },
    )


def http() -> Schema:
    """Inbound requests."""
    return fields(
        "Inbound HTTP that the sidecar takes over.",
        {
            "port": text(
                "The NAME of the container port that the Service targets; the sidecar takes it over.",
                15,
                minLength=1,
                pattern=DNS_LABEL,
            ),
            "routes": routes(),
            "edge": flag(
                "Whether requests come here from outside: then no xid that they carry is believed.",
                default=False,
            ),
            "joinByTrace": flag(
                "Whether statements take part by the trace that a comment of theirs (sqlcommenter's "
                "traceparent) names, where tracing has brought the xid to the pod. Read when a pod is made.",
                default=False,
            ),
        },
        required=["port"],
    )


def status() -> Schema:
    """What was found."""
    return fields(
        "What was found; written by the operator.",
        {
            "observedGeneration": whole("The metadata.generation that was examined.", 0, 2**53),
            "conditions": conditions("Ready: whether pods can be injected by this policy, and if not, why."),
        },
    )
