"""The schema of TransactionPolicy: which requests begin transactions, which databases take part.

What a rule of the API server says about one policy, ``globaltx.manifest.policy`` says offline too,
and about several policies together.
"""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_LOCK_WAIT, DEFAULT_TIMEOUT, DEFAULT_TTL, TlsMode
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
from globaltx.manifest.schemas.transactions import TIMEOUT_SECONDS_MAX, TTL_SECONDS_MAX
from globaltx.modes import BUILT
from globaltx.transaction.model import RESOURCE_LENGTH_MAX, Mode

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
POLICY_NAME_LENGTH_MAX = 63
ROUTES_MAX = 64
DATASOURCES_MAX = 16
ALIASES_MAX = 8
PATH_LENGTH_MAX = 512
PORT_MAX = 65535
LOCK_WAIT_MILLISECONDS_MAX = 60_000

CA_SENTENCE = (
    "give caSecretName with mode VerifyIdentity, and only then: "
    "it names the authority that the server's certificate is checked against"
)
SHOWN_SENTENCE = (
    "serverSecretName is of no use with mode Disabled: "
    "the application is offered TLS only where it goes on to the database; choose another mode"
)

_PATH = r"^/[^?#\s]*$"


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
        },
        **{
            "x-kubernetes-validations": [
                rule(
                    "has(self.http) || has(self.datasources)",
                    "the policy does nothing: give it http (requests that begin transactions), "
                    "datasources (databases that take part), or both",
                )
            ]
        },
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
        },
        required=["port"],
    )


def routes() -> Schema:
    """Requests that begin transactions."""
    path = "(has(b.match.path) ? b.match.path : b.match.pathPrefix)"
    prefix = "(a.match.pathPrefix.endsWith('/') ? a.match.pathPrefix : a.match.pathPrefix + '/')"
    covers = f"has(a.match.path) ? {path} == a.match.path : ({path} + '/').startsWith({prefix})"
    return several(
        "Requests that begin a global transaction; all others are passed on. No request may match two.",
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
                    f"!({covers})))",
                    "two routes match the same request; make their paths or methods differ",
                ),
            ]
        },
    )


def route() -> Schema:
    """One request that begins a transaction."""
    return fields(
        "A request that begins a global transaction.",
        {
            "name": text("The route's name, unique in the policy.", 63, minLength=1, pattern=DNS_LABEL),
            "match": fields(
                "Which requests.",
                {
                    "method": choice("The method of the request.", METHODS, default="POST"),
                    "path": text(
                        "The whole path of the request, without the query.", PATH_LENGTH_MAX, pattern=_PATH
                    ),
                    "pathPrefix": text(
                        "The first segments of the path (/a matches /a/b, not /ab).",
                        PATH_LENGTH_MAX,
                        pattern=_PATH,
                    ),
                },
                **{
                    "x-kubernetes-validations": [
                        rule(
                            "has(self.path) != has(self.pathPrefix)",
                            "give exactly one of path (the whole path) and pathPrefix (its first segments)",
                        )
                    ]
                },
            ),
            "begin": begin(),
        },
        required=["name", "match"],
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
            "commitStatuses": several(
                "HTTP statuses of the answer that mean commit; every other one means rollback.",
                {
                    "type": "integer",
                    "format": "int64",
                    "description": "An HTTP status.",
                    "minimum": 100,
                    "maximum": 599,
                },
                32,
                minItems=1,
                default=[200],
                **{"x-kubernetes-list-type": "set"},
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
            "tls": tls(),
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
