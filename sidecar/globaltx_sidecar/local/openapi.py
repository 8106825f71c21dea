"""The OpenAPI document of the local API, https://spec.openapis.org/oas/v3.0.3."""

from __future__ import annotations

from typing import Any

from globaltx.transaction.calls import Order
from globaltx.transaction.xid import XID_LENGTH_MAX, XID_PATTERN
from globaltx_sidecar.local import schemas

Json = dict[str, Any]

_XID = {
    "name": "xid",
    "in": "path",
    "required": True,
    "description": "The transaction's xid, <namespace>.<name>.",
    "schema": {"type": "string", "maxLength": XID_LENGTH_MAX, "pattern": XID_PATTERN},
}
_BRANCH = {
    "name": "branch",
    "in": "path",
    "required": True,
    "description": "The name of the branch, as its registration has answered.",
    "schema": {"type": "string"},
}
_REFUSALS = {
    400: "The request is not what is documented.",
    403: "No policy of the pod allows it.",
    404: "There is no such transaction.",
    409: "The transaction's outcome is taken, and is another.",
    413: "The request is too large.",
    503: "The store does not answer; repeat the request.",
}


def document() -> Json:
    """Make the document."""
    transaction = "/v1/transactions/{xid}"
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "globaltx, the local API of a sidecar",
            "version": "v1",
            "description": "Begins, joins, decides and shows global transactions, for the pod it runs in.",
        },
        "paths": {
            "/v1/transactions": {
                "post": _operation("begin", "Begin a transaction.", 201, schemas.begun(), schemas.begin()),
            },
            transaction: {"get": _operation("status", "Show a transaction.", 200, schemas.status())},
            f"{transaction}/branches": {
                "post": _operation(
                    "join",
                    "Register a branch of TCC, or a step of a saga.",
                    201,
                    schemas.joined(),
                    _of_one_kind(schemas.branch()),
                    needs_body=True,
                )
            },
            f"{transaction}/branches/{{branch}}/completed": {
                "post": _operation("completed", "Note that a step was done.", 200, schemas.completed()),
            },
            f"{transaction}/commit": {
                "post": _operation(
                    "commit", "Take the outcome Commit.", 200, schemas.taken(), schemas.decision()
                )
            },
            f"{transaction}/rollback": {
                "post": _operation(
                    "rollback", "Take the outcome Rollback.", 200, schemas.taken(), schemas.decision()
                )
            },
        },
    }


def _operation(
    name: str, summary: str, status: int, answer: Json, asked: Json | None = None, *, needs_body: bool = False
) -> Json:
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "responses": {
            str(status): _content("It is done.", answer),
            **{str(code): _content(told, schemas.refusal()) for code, told in _REFUSALS.items()},
        },
    }
    if name != "begin":
        operation["parameters"] = [_XID, _BRANCH] if name == "completed" else [_XID]
    if asked is not None:
        operation["requestBody"] = {"required": needs_body, **_content("", _strict(asked))}
        operation["requestBody"].pop("description")
    return operation


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _plain(schema)}}}


def _of_one_kind(branch: Json) -> Json:
    """Say what fields of a branch go together."""
    properties = branch["properties"]
    tries, steps = ("confirm", "cancel"), ("compensate",)
    a_try, a_step = (
        {
            "required": [*given],
            "properties": {name: properties[name] for name in given}
            | {name: {"nullable": True, "enum": [None]} for name in left_out},
        }
        for given, left_out in ((tries, steps), (steps, tries))
    )
    ordered = {"required": ["order"], "properties": {"order": {"enum": [str(Order.DEPENDENCIES)]}}}
    alone = {"properties": {"dependsOn": {"maxItems": 0}}}
    return branch | {"allOf": [{"oneOf": [a_try, a_step]}, {"anyOf": [alone, ordered]}]}


def _strict(schema: Json) -> Json:
    """What requests may hold: no other fields, and null for what is left out."""
    if "items" in schema:
        return schema | {"items": _strict(schema["items"])}
    if "properties" not in schema:
        return schema
    required = schema.get("required", ())
    parts = {name: _strict(part) for name, part in schema["properties"].items()}
    return schema | {
        "additionalProperties": False,
        "properties": {name: part if name in required else _or_null(part) for name, part in parts.items()},
    }


def _or_null(schema: Json) -> Json:
    named = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | named | {"nullable": True}


def _plain(value: Any) -> Any:
    """Leave out what only Kubernetes knows, and say in the standard's words what can be said in them."""
    if isinstance(value, dict):
        known = {name: _plain(each) for name, each in value.items() if not name.startswith("x-kubernetes-")}
        return known | ({"uniqueItems": True} if value.get("x-kubernetes-list-type") == "set" else {})
    return [_plain(each) for each in value] if isinstance(value, list) else value
