"""The little of JSON patch that the injection writes: add, replace and remove."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from globaltx.manifest.injection.result import Operation


def pointer(*steps: str | int) -> str:
    """Write a JSON pointer (https://www.rfc-editor.org/rfc/rfc6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def add(value: Any, *steps: str | int) -> Operation:
    """Set a member, or insert before an index (``-``: at the end)."""
    return {"op": "add", "path": pointer(*steps), "value": value}


def replace(value: Any, *steps: str | int) -> Operation:
    """Change a member that is there."""
    return {"op": "replace", "path": pointer(*steps), "value": value}


def remove(*steps: str | int) -> Operation:
    """Take a member away that is there."""
    return {"op": "remove", "path": pointer(*steps)}


def apply(document: dict[str, Any], patch: Iterable[Operation]) -> dict[str, Any]:
    """Return a copy of the document with the operations carried out in order.

    Raises:
        LookupError: a path leads nowhere.
    """
    changed = copy.deepcopy(document)
    for operation in patch:
        *way, last = (step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:])
        parent: Any = changed
        for step in way:
            parent = parent[int(step) if isinstance(parent, list) else step]
        _change(parent, last, operation)
    return changed


def _change(parent: Any, last: str, operation: Operation) -> None:
    value = copy.deepcopy(operation.get("value"))
    if isinstance(parent, list) and operation["op"] == "add":
        parent.insert(len(parent) if last == "-" else int(last), value)
        return
    key = int(last) if isinstance(parent, list) else last
    if operation["op"] == "remove":
        del parent[key]
    elif operation["op"] == "replace":
        parent[key]
        parent[key] = value
    else:
        parent[key] = value


def below(steps: Sequence[str], patch: Iterable[Operation]) -> tuple[Operation, ...]:
    """Move a patch from an object to a document that holds the object at ``steps``."""
    return tuple({**operation, "path": pointer(*steps) + operation["path"]} for operation in patch)
