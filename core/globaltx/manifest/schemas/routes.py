"""What a TransactionPolicy says of requests: which of them begin a transaction or take part in one."""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_TIMEOUT, Propagation
from globaltx.manifest.schemas.calls import HEADER, saga, statuses, tcc, tcd
from globaltx.manifest.schemas.egress import PATH, PATH_LENGTH_MAX
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    Schema,
    choice,
    fields,
    rule,
    several,
    text,
    whole,
)
from globaltx.manifest.schemas.notify import notify
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX
from globaltx.modes import BUILT
from globaltx.transaction.model import Mode

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROUTES_MAX = 64
REGEX_LENGTH_MAX = 256
_SEGMENT = r"([^?#\x00-\x20\x7f{}/]*|\{[a-z][a-zA-Z0-9_]*\})"
_TEMPLATE = rf"^(/{_SEGMENT})+$"
MATCHES = ("path", "pathPrefix", "pathTemplate", "pathRegex")
MATCH_SENTENCE = (
    "give exactly one of path (the whole path), pathPrefix (its first segments), pathTemplate "
    "(segments, some of them {variables}) and pathRegex (a regular expression for the whole path)"
)
TCC_SENTENCE = (
    "a route with tcc, tcd or saga takes part, so its "
    "propagation is Required, RequiresNew, Supports or Mandatory"
)
ONE_MODE_SENTENCE = "a route's requests are branches of one mode; give one of tcc, tcd and saga"


def routes() -> Schema:
    """Requests that begin transactions."""
    # Templates and expressions are compared by the webhook, and by everybody who reads a policy.
    path = "(has(b.match.path) ? b.match.path : b.match.pathPrefix)"
    others = " || ".join(f"has({each}.match.{kind})" for kind in MATCHES[2:] for each in "ab")
    prefix = "(a.match.pathPrefix.endsWith('/') ? a.match.pathPrefix : a.match.pathPrefix + '/')"
    covers = f"has(a.match.path) ? {path} == a.match.path : ({path} + '/').startsWith({prefix})"
    return several(
        "Requests that begin a global transaction or take part in one in their own way; all others are "
        "passed on, with their xid. No request may match two.",
        route(),
        ROUTES_MAX,
        **{
            "x-kubernetes-validations": [
                rule(
                    "self.all(a, self.exists_one(b, a.name == b.name))",
                    "each route needs a name of its own; rename one of those that share it",
                ),
                rule(
                    "self.all(a, self.all(b, a.name == b.name || a.match.method != b.match.method || "
                    f"{others} || !({covers})))",
                    "two routes match the same request; make their paths or methods differ",
                ),
            ]
        },
    )


def route() -> Schema:
    """One request and what it means."""
    return fields(
        "A request that begins a global transaction, or takes part in one in its own way.",
        {
            "name": text("The route's name, unique in the policy.", 63, minLength=1, pattern=DNS_LABEL),
            "match": fields(
                "Which requests.",
                {
                    "method": choice("The method of the request.", METHODS, default="POST"),
                    "path": text(
                        "The whole path of the request, without the query.", PATH_LENGTH_MAX, pattern=PATH
                    ),
                    "pathPrefix": text(
                        "The first segments of the path (/a matches /a/b, not /ab).",
                        PATH_LENGTH_MAX,
                        pattern=PATH,
                    ),
                    "pathTemplate": text(
                        "The path by segments, of which those in braces may be anything that is not empty "
                        "(/accounts/{id}/debit).",
                        PATH_LENGTH_MAX,
                        pattern=_TEMPLATE,
                    ),
                    "pathRegex": text(
                        "A regular expression for the whole path (/v[12]/orders/[0-9]+). Characters, ., "
                        "classes, groups, |, *, +, ? and {m,n} are understood; it is matched in linear time.",
                        REGEX_LENGTH_MAX,
                        minLength=1,
                    ),
                },
                **{
                    "x-kubernetes-validations": [
                        rule(
                            f"[{', '.join(f'has(self.{each})' for each in MATCHES)}]"
                            ".filter(given, given).size() == 1",
                            MATCH_SENTENCE,
                        )
                    ]
                },
            ),
            "propagation": choice(
                "What becomes of a request with an xid, and of one without: Required takes part or begins; "
                "RequiresNew always begins; Supports takes part or passes on; NotSupported passes on without "
                "the xid; Mandatory takes part or refuses; Never passes on or refuses.",
                Propagation,
                default=str(Propagation.REQUIRED),
            ),
            "begin": begin(),
            "tcc": tcc(),
            "tcd": tcd(),
            "saga": saga(),
        },
        required=["name", "match"],
        **{
            "x-kubernetes-validations": [
                rule(
                    "!has(self.tcc) && !has(self.tcd) && !has(self.saga) || "
                    "!(self.propagation in ['NotSupported', 'Never'])",
                    TCC_SENTENCE,
                ),
                rule(
                    "[has(self.tcc), has(self.tcd), has(self.saga)].filter(x, x).size() <= 1",
                    ONE_MODE_SENTENCE,
                ),
            ]
        },
    )


def begin() -> Schema:
    """The transaction that a route begins."""
    timeout = int(DEFAULT_TIMEOUT.total_seconds())
    return fields(
        "The transaction that such a request begins.",
        {
            "mode": choice("How its branches are undone.", BUILT, default=str(Mode.AT)),
            "timeoutSeconds": whole(
                "How long it may stay undecided; then it is rolled back.",
                1,
                TIMEOUT_SECONDS_MAX,
                default=timeout,
            ),
            "commitStatuses": statuses(
                "HTTP statuses of the answer that mean commit; every other one means rollback.", default=[200]
            ),
            "requestIdHeader": text(
                "A header that names the request, such as idempotency-key: with the same value it begins the "
                "same transaction, and its repeats get the first one's answer. Requests without it are new.",
                64,
                minLength=1,
                pattern=HEADER,
            ),
            "notify": notify(
                "Who is told the outcome; it needs spec.notify of the policy, which must allow the URLs."
            ),
        },
        default={},
    )
