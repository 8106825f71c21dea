"""The schema of TransactionPolicy: which requests begin transactions, which databases take part.

What a rule of the API server says about one policy, ``globaltx.manifest.policy`` says offline too,
and about several policies together.
"""

from __future__ import annotations

from typing import Any

from globaltx.coordinator.policy import (
    DEFAULT_HEADERS,
    DEFAULT_LOCK_WAIT,
    DEFAULT_ROWS,
    DEFAULT_TIMEOUT,
    DEFAULT_TTL,
    Projection,
    Propagation,
    TlsMode,
)
from globaltx.manifest.schemas.egress import PATH, PATH_LENGTH_MAX, PORT_MAX, egress
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    DNS_NAME,
    LABEL_VALUE,
    Schema,
    choice,
    conditions,
    fields,
    flag,
    rule,
    several,
    text,
    whole,
)
from globaltx.manifest.schemas.notify import notify, notifying
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX, TTL_SECONDS_MAX
from globaltx.modes import BUILT
from globaltx.transaction.calls import (
    DEFAULT_CALL_TIMEOUT,
    DEFAULT_EXPIRED_STATUSES,
    DEFAULT_MARGIN,
    DEFAULT_REFUSALS,
    DEFAULT_SUCCESS_STATUSES,
    Order,
)
from globaltx.transaction.model import RESOURCE_LENGTH_MAX, Mode

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
POLICY_NAME_LENGTH_MAX = 63
ROUTES_MAX = 64
DATASOURCES_MAX = 16
ROWS_MAX = 1_000_000
SENSITIVE_COLUMN = r"^([^.*]+|\*)\.([^.*]+|\*)$"
SENSITIVE_COLUMN_LENGTH_MAX = 129
SENSITIVE_COLUMNS_MAX = 64
ALIASES_MAX = 8
LOCK_WAIT_MILLISECONDS_MAX = 60_000

CA_SENTENCE = (
    "give caSecretName with mode VerifyIdentity, and only then: "
    "it names the authority that the server's certificate is checked against"
)
SHOWN_SENTENCE = (
    "serverSecretName is of no use with mode Disabled: "
    "the application is offered TLS only where it goes on to the database; choose another mode"
)

REGEX_LENGTH_MAX = 256
_SEGMENT = r"([^?#\x00-\x20\x7f{}/]*|\{[a-z][a-zA-Z0-9_]*\})"
_TEMPLATE = rf"^(/{_SEGMENT})+$"
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_KEPT_FROM_CALLS = (
    *("authorization", "cookie", "proxy-authorization", "host", "content-length", "transfer-encoding"),
    *("connection", "expect", "upgrade", "te", "trailer", "keep-alive", "xid", "x-dbpack-xid", "baggage"),
)

MATCHES = ("path", "pathPrefix", "pathTemplate", "pathRegex")
MATCH_SENTENCE = (
    "give exactly one of path (the whole path), pathPrefix (its first segments), pathTemplate "
    "(segments, some of them {variables}) and pathRegex (a regular expression for the whole path)"
)
NOTHING_SENTENCE = (
    "the policy does nothing: give it http (requests that begin transactions), datasources (databases that "
    "take part), saga (where declared sagas may call), notify (where outcomes may be told), or several"
)
TCC_SENTENCE = (
    "a route with tcc, tcd or saga takes part, so its "
    "propagation is Required, RequiresNew, Supports or Mandatory"
)
HEADERS_SENTENCE = (
    "headers are kept in the Branch for everybody who may read it, so those that hold secrets must not be "
    "named, nor those of the connection or of globaltx"
)
ONE_MODE_SENTENCE = "a route's requests are branches of one mode; give one of tcc, tcd and saga"
MARGIN_SENTENCE = (
    "compensationMarginSeconds must be less than reservationSeconds: what is left is the time to decide in"
)
DEPENDS_SENTENCE = "dependsOn says something with order Dependencies only; set that order, or leave it out"
GUARDS_SENTENCE = "a call has one guard row, so give guardCalls to one datasource"
CALL_SECONDS_MAX = 300
DEPENDS_MAX = 32
_VARIABLES = "may hold variables of the route's pathTemplate"
REFUSALS_MAX = 1000
HEADERS_MAX = 32


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
                f"The path that tells, asked by GET, what became of a reservation; {_VARIABLES}.",
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
            **_calls(),
        },
        required=["confirm", "state", "reservationSeconds"],
        **{
            "x-kubernetes-validations": [
                rule("self.compensationMarginSeconds < self.reservationSeconds", MARGIN_SENTENCE)
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
    headers = text("The name of a header.", 64, minLength=1, pattern=_HEADER)
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


def statuses(description: str, **more: Any) -> Schema:
    """A set of HTTP statuses."""
    status = whole("An HTTP status.", 100, 599)
    return several(description, status, 32, minItems=1, **more, **{"x-kubernetes-list-type": "set"})


def may_repeat(header: str) -> bool:
    """Whether a header of a try may be kept and repeated."""
    return header not in _KEPT_FROM_CALLS and not header.startswith("globaltx-")


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
                pattern=_HEADER,
            ),
            "notify": notify(
                "Who is told the outcome; it needs spec.notify of the policy, which must allow the URLs."
            ),
        },
        default={},
    )


def datasources() -> Schema:
    """Databases that take part."""
    of_a, of_b = (f"(has({each}.aliases) ? {each}.aliases : [])" for each in "ab")
    return several(
        "Database schemas whose statements take part in global transactions.",
        datasource(),
        DATASOURCES_MAX,
        minItems=1,
        **{
            "x-kubernetes-validations": [
                rule(
                    "self.all(a, self.exists_one(b, a.name == b.name))",
                    "each datasource needs a name of its own; rename one of those that share it",
                ),
                rule("self.filter(a, a.guardCalls).size() <= 1", GUARDS_SENTENCE),
                rule(
                    f"self.all(a, {of_a}.all(n, self.exists_one(b, n in {of_b})))",
                    "two datasources claim the same alias; give each the aliases that are its own",
                ),
                rule(
                    f"self.all(a, {of_a}.all(n, !self.exists(b, b.host == n)))",
                    "an alias must not be the host of a datasource: the sidecar would connect to itself; "
                    "give host the fully qualified name (such as mysql.shop.svc.cluster.local) or an IP",
                ),
            ]
        },
    )


def datasource() -> Schema:
    """One database schema."""
    return fields(
        "A database schema whose statements take part.",
        {
            "name": text(
                "The datasource's name, unique among the app's policies; the resource of its branches.",
                RESOURCE_LENGTH_MAX,
                minLength=1,
                pattern=DNS_LABEL,
            ),
            "host": text(
                "Where the sidecar connects to: a fully qualified name or an IP address.", 253, minLength=1
            ),
            "port": whole("The database's port; the application uses the same.", 1, PORT_MAX, default=3306),
            "schema": text("The schema (database) whose tables take part.", 64, minLength=1),
            "aliases": several(
                "Host names by which the application reaches the database; the sidecar answers to them.",
                text(
                    "A host name.",
                    253,
                    minLength=1,
                    pattern=DNS_NAME,
                    **{
                        "x-kubernetes-validations": [
                            rule(
                                "!isIP(self) && self != 'localhost'",
                                "an alias must be a host name that the application looks up; an IP address "
                                "and localhost cannot be taken over",
                            )
                        ]
                    },
                ),
                ALIASES_MAX,
                **{"x-kubernetes-list-type": "set"},
            ),
            "secretName": text(
                "The Secret with username and password of the account that the sidecar itself uses "
                "to undo changes. The application's password is not needed.",
                253,
                minLength=1,
                pattern=DNS_NAME,
            ),
            "manageUndoTable": flag(
                "Whether the sidecar creates the table globaltx_undo in the schema; "
                "otherwise create it by `globaltx schema`.",
                default=True,
            ),
            "maxRowsPerTransaction": whole(
                "How many rows one local transaction with an xid may change, a row counting each time; "
                "one that changes more is rolled back. Undo records of more than 12 MiB are refused too.",
                1,
                ROWS_MAX,
                default=DEFAULT_ROWS,
            ),
            "guardLocalWrites": flag(
                "Whether INSERT, REPLACE, UPDATE and DELETE without an xid wait too for rows that a global "
                "transaction may still undo. It makes them slower; those that cannot be checked are refused.",
                default=False,
            ),
            "guardCalls": flag(
                "Whether its table globaltx_guard remembers calls (tries, steps, confirms, cancels, "
                "compensations) whose local transactions ask for it; one datasource of an app can.",
                default=False,
            ),
            "tls": tls(),
            "sensitiveColumns": several(
                "Columns whose values nobody is shown of a row in conflict, in resources, Events and logs: "
                "table.column, where either may be *, such as customers.iban or *.password.",
                text(
                    "A table and a column.",
                    SENSITIVE_COLUMN_LENGTH_MAX,
                    minLength=3,
                    pattern=SENSITIVE_COLUMN,
                ),
                SENSITIVE_COLUMNS_MAX,
                **{"x-kubernetes-list-type": "set"},
            ),
        },
        required=["name", "host", "schema", "secretName"],
    )


def tls() -> Schema:
    """How the connections to a database are secured."""
    return fields(
        "How the connections to the database are secured. The sidecar ends the application's connection "
        "and makes one of its own, so the application's settings of TLS hold only as far as the sidecar.",
        {
            "mode": choice(
                "Between sidecar and database: Disabled is in the clear; Preferred is TLS whenever the "
                "server offers it; Required is TLS or no connection; VerifyIdentity also checks that the "
                "server's certificate is of the given authority and made out to the datasource's host.",
                TlsMode,
                default=str(TlsMode.PREFERRED),
            ),
            "caSecretName": text(
                "The Secret whose ca.crt (PEM, one or more certificates) is the authority of the server's "
                "certificate; for VerifyIdentity.",
                253,
                minLength=1,
                pattern=DNS_NAME,
            ),
            "serverSecretName": text(
                "The Secret (type kubernetes.io/tls: tls.crt, tls.key) with the certificate that the sidecar "
                "shows to the application, which is then offered TLS as well. Its names are the aliases.",
                253,
                minLength=1,
                pattern=DNS_NAME,
            ),
        },
        default={"mode": str(TlsMode.PREFERRED)},  # whole, because the rules are asked about it
        **{
            "x-kubernetes-validations": [
                rule("(self.mode == 'VerifyIdentity') == has(self.caSecretName)", CA_SENTENCE),
                rule("self.mode != 'Disabled' || !has(self.serverSecretName)", SHOWN_SENTENCE),
            ]
        },
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
