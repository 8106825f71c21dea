"""Values: equal and hashed by what they hold, and never watched at run time."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path

import pytest

from globaltx.values import dataclass, replace

ROOT = Path(__file__).parent.parent
SLOW_REPLACE = re.compile(r"^from dataclasses import .*\breplace\b", re.MULTILINE)
IMPORT = re.compile(r"^from dataclasses import .*\bdataclass\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    name: str


@dataclass(slots=True)
class Derived:
    given: int
    made: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class Word:
    text: str

    def __hash__(self) -> int:
        return hash(self.text.lower())


def test_values_are_equal_and_hashed_by_what_they_hold() -> None:
    assert Point(1) == Point(1, 0) != Point(1, 1)
    assert {Point(1): "one"}[Point(1, 0)] == "one"
    assert not hasattr(Point(1), "__dict__")


def test_those_without_equality_are_themselves_alone() -> None:
    one, other = Mark("a"), Mark("a")
    assert len({one, other}) == 2


def test_a_hash_of_its_own_stays() -> None:
    assert hash(Word("A")) == hash(Word("a"))


def test_what_is_in_a_request_s_way_makes_values_cheaply() -> None:
    slow = [
        path.relative_to(ROOT)
        for folder in ("core", "sidecar")
        for path in (ROOT / folder).rglob("*.py")
        if "@dataclass(frozen=True" in (text := path.read_text()) and IMPORT.search(text)
    ]
    assert slow == []


def test_a_value_is_made_like_another_but_for_some_fields() -> None:
    one = Point(1, 2)
    assert replace(one, y=3) == Point(1, 3)
    assert replace(one) == one is not replace(one)
    assert replace(Mark("a"), name="b").name == "b"


def test_what_has_fields_that_are_not_given_by_their_place_is_refused() -> None:
    with pytest.raises(TypeError, match="Derived has fields"):
        replace(Derived(1), given=2)


def test_every_value_is_made_like_another_in_the_quick_way() -> None:
    slow = [
        path.relative_to(ROOT)
        for folder in ("core", "operator", "sidecar")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "values.py" and SLOW_REPLACE.search(path.read_text())
    ]
    assert slow == []
