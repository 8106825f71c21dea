"""Building blocks of the schemas: every field has a description and a bound.

Bounds are what lets the API server reckon the cost of a rule beforehand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
REASON = r"^[A-Z][A-Za-z0-9]*$"
MOMENT = r"^[12][0-9]{3}-.*([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"


def text(description: str, length_max: int, **more: Any) -> Schema:
    """A string of at most so many characters."""
    return {"type": "string", "description": description, "maxLength": length_max, **more}


def choice(description: str, values: Iterable[str], **more: Any) -> Schema:
    """One of a few words."""
    words = [str(value) for value in values]
    longest = max(len(word) for word in words)
    return {"type": "string", "description": description, "enum": words, "maxLength": longest, **more}


def whole(description: str, least: int, most: int, **more: Any) -> Schema:
    """A whole number, both ends included."""
    return {
        "type": "integer",
        "format": "int64",
        "description": description,
        "minimum": least,
        "maximum": most,
        **more,
    }


def flag(description: str, **more: Any) -> Schema:
    """True or false."""
    return {"type": "boolean", "description": description, **more}


def moment(description: str) -> Schema:
    """A time, RFC 3339, that everybody can reckon with: the format alone lets the year 0 through."""
    return {
        "type": "string",
        "format": "date-time",
        "description": description,
        "maxLength": 64,
        "pattern": MOMENT,
    }


def fields(description: str, properties: dict[str, Schema], **more: Any) -> Schema:
    """An object with these fields and no others."""
    return {"type": "object", "description": description, **more, "properties": properties}


def several(description: str, items: Schema, most: int, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "description": description, "maxItems": most, **more, "items": items}


def rule(expression: str, message: str, *, computed: bool = False) -> dict[str, str]:
    """A CEL rule; ``computed`` means that the message is an expression itself."""
    return {"rule": expression, "messageExpression" if computed else "message": message}


def frozen(schema: Schema, sentence: str) -> Schema:
    """Never changes once the object exists (the field must be required or have a default)."""
    rules = [*schema.get("x-kubernetes-validations", []), rule("self == oldSelf", sentence)]
    return {**schema, "x-kubernetes-validations": rules}


def conditions(description: str) -> Schema:
    """``status.conditions`` as ``kubectl wait`` reads them, merged by type."""
    entry = fields(
        "One condition.",
        {
            "type": text("The name of the condition.", 63),
            "status": choice("Whether the condition holds.", ["True", "False", "Unknown"]),
            "reason": text(
                "Why, as one word; docs/resources.md has a sentence for each.", 63, pattern=REASON
            ),
            "message": text("Why, as a sentence.", 1024),
            "lastTransitionTime": moment("When the status of the condition last changed."),
            "observedGeneration": whole("The metadata.generation that this was found for.", 0, 2**53),
        },
        required=["type", "status", "reason", "lastTransitionTime"],
    )
    return several(
        description,
        entry,
        8,
        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
