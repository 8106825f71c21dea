"""The little of JSON patch that the injection writes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.manifest.injection.patch import add, apply, below, pointer, remove, replace

DOCUMENT: dict[str, Any] = {"a": {"b/c~d": 1}, "list": [1, 2]}


@pytest.mark.parametrize(
    ("operation", "changed"),
    [
        (add(3, "new"), {**DOCUMENT, "new": 3}),
        (add(3, "list", 0), {**DOCUMENT, "list": [3, 1, 2]}),
        (add(3, "list", "-"), {**DOCUMENT, "list": [1, 2, 3]}),
        (replace(9, "a", "b/c~d"), {**DOCUMENT, "a": {"b/c~d": 9}}),
        (replace(9, "list", 1), {**DOCUMENT, "list": [1, 9]}),
        (remove("list", 0), {**DOCUMENT, "list": [2]}),
        (remove("a"), {"list": [1, 2]}),
    ],
)
def test_operation(operation: dict[str, Any], changed: dict[str, Any]) -> None:
    before = copy.deepcopy(DOCUMENT)
    assert apply(DOCUMENT, [operation]) == changed
    assert before == DOCUMENT


@pytest.mark.parametrize(
    "operation", [remove("none"), replace(1, "none"), add(1, "none", "x"), remove("list", 7)]
)
def test_path_that_leads_nowhere_is_an_error(operation: dict[str, Any]) -> None:
    with pytest.raises(LookupError):
        apply(DOCUMENT, [operation])


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_names_are_pointed_to(steps: list[str]) -> None:
    document: dict[str, Any] = {}
    inner = document
    for step in steps[:-1]:
        inner = inner.setdefault(step, {})
    assert pointer(*steps).count("/") == len(steps)
    found: Any = apply(document, [add(1, *steps)])
    for step in steps:
        found = found[step]
    assert found == 1


def test_patch_moves_below() -> None:
    [moved] = below(["spec", "template"], [add(1, "metadata", "a/b")])
    assert moved["path"] == "/spec/template/metadata/a~1b"
