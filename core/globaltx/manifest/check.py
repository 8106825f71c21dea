"""What the API server does with a schema, offline: fill in defaults, find what does not fit.

It knows the words that ``globaltx.manifest.schemas`` uses and no others. Rules in CEL are not
evaluated here; ``globaltx.manifest.policy`` says the same in Python.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from globaltx.manifest.schemas.fields import Schema

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}


def filled(schema: Schema, value: Any) -> Any:
    """Return a copy with the defaults of what is left out, as the API server stores it."""
    if isinstance(value, dict) and "properties" in schema:
        properties: dict[str, Schema] = schema["properties"]
        given = {name: each for name, each in value.items() if each is not None or name not in properties}
        missing = {
            name: copy.deepcopy(part["default"])
            for name, part in properties.items()
            if name not in given and "default" in part
        }
        return {name: filled(properties.get(name, {}), each) for name, each in (given | missing).items()}
    if isinstance(value, list):
        return [filled(schema.get("items", {}), each) for each in value]
    return copy.deepcopy(value)


def problems(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Tell everything in which a value does not fit: ``path: what is wrong, what is right``."""
    expected = schema["type"]
    if not isinstance(value, _TYPES[expected]) or (expected == "integer" and isinstance(value, bool)):
        yield f"{path}: must be of type {expected}, is {_shown(value)}"
        return
    if isinstance(value, dict):
        yield from _object_problems(schema, value, path)
    elif isinstance(value, list):
        yield from _list_problems(schema, value, path)
    elif isinstance(value, str):
        yield from _text_problems(schema, value, path)
    elif isinstance(value, int):
        yield from _number_problems(schema, value, path)


def _object_problems(schema: Schema, value: Mapping[str, Any], path: str) -> Iterator[str]:
    properties: dict[str, Schema] = schema.get("properties", {})
    others: Schema | None = schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{_at(path, name)}: is required: {properties[name]['description']}"
    if len(value) > schema.get("maxProperties", len(value)):
        yield f"{path}: must have at most {schema['maxProperties']} entries, has {len(value)}"
    for name, each in value.items():
        part = properties.get(name, others)
        if part is None:
            yield f"{_at(path, name)}: unknown field{_hint(str(name), properties)}"
        else:
            yield from problems(part, each, _at(path, name))


def _list_problems(schema: Schema, value: list[Any], path: str) -> Iterator[str]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
    if not least <= len(value) <= most:
        yield f"{path}: must have {least} to {most} entries, has {len(value)}"
    for index, each in enumerate(value):
        if schema.get("x-kubernetes-list-type") == "set" and each in value[:index]:
            yield f"{path}[{index}]: {_shown(each)} is there twice; remove one"
        yield from problems(schema["items"], each, f"{path}[{index}]")


def _text_problems(schema: Schema, value: str, path: str) -> Iterator[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: must be one of {', '.join(schema['enum'])}, is {_shown(value)}"
    elif not least <= len(value) <= most:
        yield f"{path}: must have {least} to {most} characters, has {len(value)}"
    elif "pattern" in schema and not _matches(schema["pattern"], value):
        yield f"{path}: must match {schema['pattern']}, is {_shown(value)}"


def _matches(pattern: str, value: str) -> bool:
    """As the API server matches, to which ``$`` is the end of the text and not before a last new line."""
    return re.search(pattern, value) is not None and not value.endswith("\n")


def _number_problems(schema: Schema, value: int, path: str) -> Iterator[str]:
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if not least <= value <= most:
        yield f"{path}: must be between {least} and {most}, is {value}"


def _at(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."  # noqa: PLR2004  a line of a message


def _hint(name: str, properties: Mapping[str, Schema]) -> str:
    import difflib  # noqa: PLC0415  only where a field is wrong

    close = difflib.get_close_matches(name, properties, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; the fields here are {', '.join(properties)}" if properties else ""
