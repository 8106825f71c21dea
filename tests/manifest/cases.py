"""TransactionPolicies that are wrong, and what the API server and the offline check say of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


def route(name: str = "create", path: str = "/order", **match: Any) -> Json:
    return {"name": name, "match": {"path": path, **match}}


def regex(path: str, **more: Any) -> Json:
    return {"name": "regex", "match": {"pathRegex": path}, **more}


def template(path: str, name: str = "debit", **more: Any) -> Json:
    return {"name": name, "match": {"pathTemplate": path}, **more}


TCC: Json = {"confirm": "/c", "cancel": "/x"}
SAGA: Json = {"compensate": "/x"}
TCD: Json = {"confirm": "/c", "state": "/s", "reservationSeconds": 60}


def datasource(name: str = "order", **more: Any) -> Json:
    return {"name": name, "host": f"{name}.db.local", "schema": "shop", "secretName": "db", **more}


def http(*routes: Json, **more: Any) -> Json:
    return {"http": {"port": "http", "routes": list(routes), **more}}


@dataclass(frozen=True)
class Wrong:
    """A spec, and words of the sentence that each side answers with."""

    id: str
    spec: Json
    server: str
    offline: str
    metadata: Json = field(default_factory=dict)


WRONG = [
    Wrong("empty", {}, "the policy does nothing: give it http", "the policy does nothing: give it http"),
    Wrong(
        "no port",
        {"http": {"routes": [route()]}},
        "spec.http.port: Required value",
        "spec.http.port: is required: The NAME of the container port",
    ),
    Wrong(
        "port of a block of YAML",
        {"http": {"port": "http\n"}},
        "spec.http.port",
        "spec.http.port: must match",
    ),
    Wrong(
        "numeric port",
        http(route()) | {"http": {"port": 80}},
        "of type string",
        "must be of type string, is 80",
    ),
    Wrong(
        "neither path nor prefix",
        http({"name": "create", "match": {"method": "GET"}}),
        "give exactly one of path (the whole path), pathPrefix",
        "spec.http.routes[0].match: give exactly one of path (the whole path), pathPrefix",
    ),
    Wrong(
        "path and prefix",
        http(route(pathPrefix="/a")),
        "give exactly one of path (the whole path), pathPrefix",
        "spec.http.routes[0].match: give exactly one of path (the whole path), pathPrefix",
    ),
    Wrong(
        "two routes of one name",
        http(route(), route(path="/other")),
        "each route needs a name of its own",
        "rename one of those named 'create'",
    ),
    Wrong(
        "two routes for one request",
        http(route("a"), route("b")),
        "two routes match the same request",
        "'a' (POST /order) and 'b' (POST /order) match the same request",
    ),
    Wrong(
        "a path under a prefix",
        http(route("a", "/v1/order"), {"name": "b", "match": {"pathPrefix": "/v1/"}}),
        "two routes match the same request",
        "match the same request",
    ),
    Wrong(
        "unknown mode",
        http({**route(), "begin": {"mode": "XA"}}),
        'supported values: "AT", "TCC", "TCD", "Saga"',
        "spec.http.routes[0].begin.mode: must be one of AT, TCC, TCD, Saga, is 'XA'",
    ),
    Wrong(
        "path and template",
        http(route(pathTemplate="/a/{b}")),
        "give exactly one of path (the whole path), pathPrefix",
        "spec.http.routes[0].match: give exactly one of path (the whole path), pathPrefix",
    ),
    Wrong(
        "path, prefix and template",
        http(route(pathTemplate="/a/{b}", pathPrefix="/a")),
        "give exactly one of path (the whole path), pathPrefix",
        "spec.http.routes[0].match: give exactly one of path (the whole path), pathPrefix",
    ),
    Wrong(
        "a template with half a variable",
        http(template("/a/x{b}")),
        "spec.http.routes[0].match.pathTemplate in body should match",
        "spec.http.routes[0].match.pathTemplate: must match",
    ),
    Wrong(
        "path and expression",
        http(route(pathRegex="/a")),
        "give exactly one of path (the whole path), pathPrefix",
        "spec.http.routes[0].match: give exactly one of path (the whole path), pathPrefix",
    ),
    Wrong(
        "an expression that is too long",
        http({"name": "a", "match": {"pathRegex": "/" + "a" * 256}}),
        "may not be more than 256",
        "spec.http.routes[0].match.pathRegex: ",
    ),
    Wrong(
        "an unknown propagation",
        http({**route(), "propagation": "Sometimes"}),
        "supported values:",
        "spec.http.routes[0].propagation: must be one of Required, RequiresNew, Supports",
    ),
    Wrong(
        "tcc without cancel",
        http({**route(), "tcc": {"confirm": "/c"}}),
        "spec.http.routes[0].tcc.cancel: Required value",
        "spec.http.routes[0].tcc.cancel: is required",
    ),
    Wrong(
        "tcc that takes no part",
        http({**route(), "propagation": "Never", "tcc": TCC}),
        "a route with tcc, tcd or saga takes part",
        "spec.http.routes[0].propagation: a route with tcc, tcd or saga takes part",
    ),
    Wrong(
        "tcc that keeps a secret",
        http({**route(), "tcc": {**TCC, "headers": ["Content-Type", "Authorization"]}}),
        "those that hold secrets must not be named",
        "spec.http.routes[0].tcc.headers: headers are kept in the Branch",
    ),
    Wrong(
        "tcc that keeps a header of ours",
        http({**route(), "tcc": {**TCC, "headers": ["globaltx-branch"]}}),
        "nor those of the connection or of globaltx",
        "spec.http.routes[0].tcc.headers: headers are kept in the Branch",
    ),
    Wrong(
        "tcd without a reservation",
        http({**route(), "tcd": {"confirm": "/c", "state": "/s"}}),
        "spec.http.routes[0].tcd.reservationSeconds: Required value",
        "spec.http.routes[0].tcd.reservationSeconds: is required",
    ),
    Wrong(
        "tcd that leaves no time to decide in",
        http({**route(), "tcd": {**TCD, "compensationMarginSeconds": 60}}),
        "compensationMarginSeconds must be less than reservationSeconds",
        "spec.http.routes[0].tcd: compensationMarginSeconds must be less than reservationSeconds",
    ),
    Wrong(
        "tcd that takes the end of a reservation for done",
        http({**route(), "tcd": {**TCD, "successStatuses": [200, 410]}}),
        "a status of expiredStatuses must not be one of successStatuses too",
        "spec.http.routes[0].tcd: a status of expiredStatuses must not be one of successStatuses too",
    ),
    Wrong(
        "tcd that takes a fault for the end of a reservation",
        http({**route(), "tcd": {**TCD, "expiredGrpcStatuses": ["UNAVAILABLE"]}}),
        'spec.http.routes[0].tcd.expiredGrpcStatuses[0]: Unsupported value: "UNAVAILABLE"',
        "spec.http.routes[0].tcd.expiredGrpcStatuses[0]: must be one of INVALID_ARGUMENT, NOT_FOUND",
    ),
    Wrong(
        "tcc and tcd",
        http({**route(), "tcc": TCC, "tcd": TCD}),
        "a route's requests are branches of one mode",
        "spec.http.routes[0]: a route's requests are branches of one mode",
    ),
    Wrong(
        "tcc and saga",
        http({**route(), "tcc": TCC, "saga": SAGA}),
        "a route's requests are branches of one mode",
        "spec.http.routes[0]: a route's requests are branches of one mode",
    ),
    Wrong(
        "saga without a compensation",
        http({**route(), "saga": {}}),
        "spec.http.routes[0].saga.compensate: Required value",
        "spec.http.routes[0].saga.compensate: is required",
    ),
    Wrong(
        "saga that takes no part",
        http({**route(), "propagation": "NotSupported", "saga": SAGA}),
        "a route with tcc, tcd or saga takes part",
        "spec.http.routes[0].propagation: a route with tcc, tcd or saga takes part",
    ),
    Wrong(
        "saga with dependencies that say nothing",
        http({**route(), "saga": {**SAGA, "dependsOn": ["hold"]}}),
        "dependsOn says something with order Dependencies only",
        "the saga of 'create': dependsOn says something with order Dependencies only",
    ),
    Wrong(
        "saga of an order that nobody knows",
        http({**route(), "saga": {**SAGA, "order": "Any"}}),
        'supported values: "ReverseOfCompletion", "Dependencies", "AllAtOnce"',
        "spec.http.routes[0].saga.order: must be one of ReverseOfCompletion, Dependencies, AllAtOnce",
    ),
    Wrong(
        "no time at all",
        http({**route(), "begin": {"timeoutSeconds": 0}}),
        "should be greater than or equal to 1",
        "spec.http.routes[0].begin.timeoutSeconds: must be between 1 and 604800, is 0",
    ),
    Wrong(
        "no status means commit",
        http({**route(), "begin": {"commitStatuses": []}}),
        "should have at least 1 items",
        "spec.http.routes[0].begin.commitStatuses: must have 1 to 32 entries, has 0",
    ),
    Wrong(
        "a status twice",
        http({**route(), "begin": {"commitStatuses": [200, 200]}}),
        "Duplicate value: 200",
        "spec.http.routes[0].begin.commitStatuses[1]: 200 is there twice; remove one",
    ),
    Wrong(
        "a path with a query",
        http(route(path="/order?x=1")),
        "spec.http.routes[0].match.path",
        "spec.http.routes[0].match.path: must match ",
    ),
    *(
        Wrong(
            f"sensitive column {pattern!r}",
            {"datasources": [datasource(sensitiveColumns=[pattern])]},
            "spec.datasources[0].sensitiveColumns[0]",
            "spec.datasources[0].sensitiveColumns[0]: must ",
        )
        for pattern in ("iban", "shop.customers.iban", "customers.", "cust*.iban")
    ),
    Wrong(
        "no secret",
        {"datasources": [{"name": "a", "host": "h", "schema": "s"}]},
        "spec.datasources[0].secretName: Required value",
        "spec.datasources[0].secretName: is required: The Secret with username and password",
    ),
    Wrong(
        "two datasources of one name",
        {"datasources": [datasource(), datasource()]},
        "each datasource needs a name of its own",
        "rename one of those named 'order'",
    ),
    Wrong(
        "two that guard calls",
        {"datasources": [datasource("a", guardCalls=True), datasource("b", guardCalls=True)]},
        "give guardCalls to one datasource",
        "'a' and 'b' have guardCalls; a call has one guard row",
    ),
    Wrong(
        "one alias for two",
        {"datasources": [datasource("a", aliases=["db"]), datasource("b", aliases=["db"])]},
        "two datasources claim the same alias",
        "two claim the alias 'db'",
    ),
    Wrong(
        "an alias that is the host",
        {"datasources": [datasource(host="mysql", aliases=["mysql"])]},
        "an alias must not be the host of a datasource",
        "the alias 'mysql' of 'order' is the host of 'order', so the sidecar would connect to itself",
    ),
    Wrong(
        "an alias that is an address",
        {"datasources": [datasource(aliases=["10.0.0.1"])]},
        "an alias must be a host name that the application looks up",
        "'10.0.0.1' cannot be taken over",
    ),
    Wrong(
        "localhost as alias",
        {"datasources": [datasource(aliases=["localhost"])]},
        "an alias must be a host name that the application looks up",
        "'localhost' cannot be taken over",
    ),
    Wrong(
        "no datasource",
        {"datasources": []},
        "should have at least 1 items",
        "spec.datasources: must have 1 to 16 entries, has 0",
    ),
    Wrong(
        "a port beyond all",
        {"datasources": [datasource(port=70000)]},
        "should be less than or equal to 65535",
        "spec.datasources[0].port: must be between 1 and 65535, is 70000",
    ),
    Wrong(
        "identity without an authority",
        {"datasources": [datasource(tls={"mode": "VerifyIdentity"})]},
        "give caSecretName with mode VerifyIdentity",
        "spec.datasources[0].tls: give caSecretName with mode VerifyIdentity",
    ),
    Wrong(
        "an authority that nothing is checked against",
        {"datasources": [datasource(tls={"caSecretName": "ca"})]},
        "give caSecretName with mode VerifyIdentity, and only then",
        "spec.datasources[0].tls: give caSecretName with mode VerifyIdentity, and only then",
    ),
    Wrong(
        "TLS for the application alone",
        {"datasources": [datasource(tls={"mode": "Disabled", "serverSecretName": "shown"})]},
        "serverSecretName is of no use with mode Disabled",
        "spec.datasources[0].tls: serverSecretName is of no use with mode Disabled",
    ),
    Wrong(
        "a limit that lets nothing through",
        {"datasources": [datasource(maxRowsPerTransaction=0)]},
        "should be greater than or equal to 1",
        "spec.datasources[0].maxRowsPerTransaction: must be between 1 and 1000000, is 0",
    ),
    Wrong(
        "unknown TLS mode",
        {"datasources": [datasource(tls={"mode": "VerifyCA"})]},
        "Unsupported value",
        "must be one of Disabled, Preferred, Required, VerifyIdentity, is 'VerifyCA'",
    ),
    Wrong(
        "too long a wait",
        {**http(route()), "lockWaitMilliseconds": 3600000},
        "should be less than or equal to 60000",
        "spec.lockWaitMilliseconds: must be between 0 and 60000, is 3600000",
    ),
    Wrong(
        "too long a name",
        http(route()),
        "metadata.name must have at most 63 characters",
        "metadata.name: must have 1 to 63 characters, has 64",
        {"name": "n" * 64},
    ),
    Wrong(
        "a misspelt field",
        {**http(route()), "datasorces": []},
        'unknown field "spec.datasorces"',
        "spec.datasorces: unknown field; did you mean datasources?",
    ),
]
