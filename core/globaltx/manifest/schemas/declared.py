"""The schema of a declared saga: ``spec.saga`` of a GlobalTransaction, ``status.step`` of its Branches.

What a rule of the API server cannot say (circles, templates, destinations) the webhook says, and
whoever is about to conduct it once more.
"""

from __future__ import annotations

from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    Schema,
    choice,
    fields,
    flag,
    moment,
    rule,
    several,
    text,
    whole,
)
from globaltx.transaction.calls import DEFAULT_CALL_TIMEOUT, DEFAULT_REFUSALS
from globaltx.transaction.declared import (
    BODY_LENGTH_MAX,
    DEFAULT_ATTEMPTS,
    DEFAULT_BACKOFF,
    DEFAULT_BACKOFF_MAX,
    DEFAULT_STATUSES,
    HEADER_LENGTH_MAX,
    HEADERS_MAX,
    PROBLEM_LENGTH_MAX,
    RESULT_BYTES_MAX,
    STEPS_MAX,
    URL_LENGTH_MAX,
    Recovery,
    StepState,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
STEP_SECONDS_MAX = 3600
BACKOFF_SECONDS_MAX = 86_400
ATTEMPTS_MAX = 1_000_000
REFUSALS_MAX = 1000
STEP_NAME_LENGTH_MAX = 63
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_URL = r"^https?://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[^#]*)?$"
"""Looser than what is called (`globaltx.coordinator.egress.URL`), because templates stand in it."""


def saga() -> Schema:
    """The whole of it."""
    return fields(
        "Declares a saga as a whole: it begins when the resource is created, and is conducted by a sidecar "
        "of the initiator. It needs mode Saga and a policy whose saga.egress allows the URLs.",
        {
            "recovery": choice(
                "What is done about a step that fails: Backward compensates what was done, Forward repeats "
                "the step until it is done.",
                Recovery,
                default=str(Recovery.BACKWARD),
            ),
            "steps": several(
                "The steps; those that nothing is said to come before run side by side.",
                step(),
                STEPS_MAX,
                minItems=1,
                **{
                    "x-kubernetes-validations": [
                        rule(
                            "self.all(a, self.exists_one(b, a.name == b.name))",
                            "each step needs a name of its own; rename one of those that share it",
                        ),
                        rule(
                            "self.all(a, !has(a.dependsOn) || "
                            "a.dependsOn.all(d, d != a.name && self.exists(b, b.name == d)))",
                            "dependsOn names other steps of the saga; one that is named is not there",
                        ),
                        rule(
                            "self.filter(a, a.pivot).size() <= 1",
                            "what is taken back ends at one step: mark one pivot at most",
                        ),
                    ]
                },
            ),
        },
        required=["steps"],
    )


def step() -> Schema:
    """One step."""
    return fields(
        "A step: a call that does it and one that takes it back.",
        {
            "name": text(
                "Its name, unique in the saga.", STEP_NAME_LENGTH_MAX, minLength=1, pattern=DNS_LABEL
            ),
            "request": exchange("The call that does it."),
            "compensation": exchange(
                "The call that takes it back, made until it is done; without one nothing is taken back."
            ),
            "dependsOn": several(
                "The steps that are done before it begins.",
                text("The name of a step.", STEP_NAME_LENGTH_MAX, minLength=1, pattern=DNS_LABEL),
                STEPS_MAX,
                **{"x-kubernetes-list-type": "set"},
            ),
            "retry": retry(),
            "timeoutSeconds": whole(
                "How long one call may take.",
                1,
                STEP_SECONDS_MAX,
                default=int(DEFAULT_CALL_TIMEOUT.total_seconds()),
            ),
            "successStatuses": several(
                "Statuses of answers that mean that a call is done.",
                whole("A status.", 200, 299),
                100,
                default=sorted(DEFAULT_STATUSES),
                minItems=1,
                **{"x-kubernetes-list-type": "set"},
            ),
            "conflictAfterRefusals": whole(
                "After how many refusals in a row a call that is made until it is done is in Conflict.",
                1,
                REFUSALS_MAX,
                default=DEFAULT_REFUSALS,
            ),
            "pivot": flag(
                "Whether it separates the steps: those before it are taken back if it is refused; once it is "
                "done, those that depend on it are repeated until they are done.",
                default=False,
            ),
        },
        required=["name", "request"],
    )


def exchange(description: str) -> Schema:
    """A request."""
    header = fields(
        "A header; those that hold secrets are refused: whoever may read the resource sees it.",
        {
            "name": text("Its name.", 256, minLength=1, pattern=_HEADER),
            "value": text("Its value, a template.", HEADER_LENGTH_MAX),
        },
        required=["name", "value"],
    )
    return fields(
        f"{description} Templates as {{{{ steps.flight.body.id }}}} stand for values of earlier answers.",
        {
            "method": choice("The method.", METHODS, default="POST"),
            "url": text(
                "http(s)://host[:port]/path; templates may stand in path and query.",
                URL_LENGTH_MAX,
                minLength=1,
                pattern=_URL,
            ),
            "headers": several("Headers besides those that globaltx sets.", header, HEADERS_MAX),
            "body": text(
                "The body, as the text of JSON in whose strings templates may stand.", BODY_LENGTH_MAX
            ),
        },
        required=["url"],
    )


def retry() -> Schema:
    """How a step is repeated."""
    return fields(
        "How the step is repeated when it is not known to be done. What must be done, and every "
        "compensation, is repeated without end.",
        {
            "attempts": whole(
                "How many calls there are before the step has failed.",
                1,
                ATTEMPTS_MAX,
                default=DEFAULT_ATTEMPTS,
            ),
            "backoffSeconds": whole(
                "How long to wait after the first, at most, and half of that at least; it doubles with each.",
                1,
                BACKOFF_SECONDS_MAX,
                default=int(DEFAULT_BACKOFF.total_seconds()),
            ),
            "backoffSecondsMax": whole(
                "How long to wait at most.",
                1,
                BACKOFF_SECONDS_MAX,
                default=int(DEFAULT_BACKOFF_MAX.total_seconds()),
            ),
        },
        default={},
    )


def steps_status() -> Schema:
    """How the steps stand, at the transaction."""
    entry = fields(
        "A step.",
        {
            "name": text("Its name.", STEP_NAME_LENGTH_MAX),
            "state": choice("How it stands.", StepState),
            "problem": text("Why its last call was not done.", PROBLEM_LENGTH_MAX),
        },
        required=["name", "state"],
    )
    return several(
        "How the steps of a declared saga stand; their Branches tell more.",
        entry,
        STEPS_MAX,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


def step_status() -> Schema:
    """How far a step has come."""
    return fields(
        "How far a step of a declared saga has come; written before and after each call.",
        {
            "state": choice("How it stands.", StepState),
            "result": text(
                "What it was answered with, as JSON text, where that is JSON and not too large.",
                RESULT_BYTES_MAX,
            ),
            "place": whole("Its place among the steps that were done.", 0, 10**6),
            "heeded": whole("The last decision of a person that a call was made for.", 0, 10**6),
            "guarded": whole("How many of the calls that do it carried a guard.", 0, 2**53),
            "request": attempts("The calls that do it."),
            "compensation": attempts("The calls that take it back."),
        },
        required=["state"],
    )


def attempts(description: str) -> Schema:
    """The calls of one kind."""
    return fields(
        description,
        {
            "attempts": whole("How many there were.", 0, 2**53),
            "calledAt": moment("When the last was made."),
            "nextAt": moment("When another may be made."),
            "status": whole("What the last was answered with; 0: nothing.", 0, 999),
            "refusals": whole("How many in a row were refused.", 0, 2**53),
            "problem": text("Why the last was not done.", PROBLEM_LENGTH_MAX),
        },
    )
