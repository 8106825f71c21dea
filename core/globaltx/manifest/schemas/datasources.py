"""What a TransactionPolicy says of databases: which schemas take part, and how they are reached."""

from __future__ import annotations

from globaltx.coordinator.policy import DEFAULT_ROWS, TlsMode
from globaltx.manifest.schemas.egress import PORT_MAX
from globaltx.manifest.schemas.fields import (
    DNS_LABEL,
    DNS_NAME,
    Schema,
    choice,
    fields,
    flag,
    rule,
    several,
    text,
    whole,
)
from globaltx.transaction.model import RESOURCE_LENGTH_MAX

DATASOURCES_MAX = 16
ROWS_MAX = 1_000_000
ALIASES_MAX = 8
SENSITIVE_COLUMN = r"^([^.*]+|\*)\.([^.*]+|\*)$"
SENSITIVE_COLUMN_LENGTH_MAX = 129
SENSITIVE_COLUMNS_MAX = 64
CA_SENTENCE = (
    "give caSecretName with mode VerifyIdentity, and only then: "
    "it names the authority that the server's certificate is checked against"
)
SHOWN_SENTENCE = (
    "serverSecretName is of no use with mode Disabled: "
    "the application is offered TLS only where it goes on to the database; choose another mode"
)
GUARDS_SENTENCE = "a call has one guard row, so give guardCalls to one datasource"


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
