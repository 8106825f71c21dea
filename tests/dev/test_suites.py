from __future__ import annotations

from itertools import combinations

import pytest
from _pytest.mark.expression import Expression

from dev.check.suites import DEEP, SUITES, Suite

MARKS = ("control_plane", "database", "etcd", "kill", "full_cluster", "deep", "mysql", "clients")
EVERY = [set(chosen) for size in range(len(MARKS) + 1) for chosen in combinations(MARKS, size)]


def takes(suite: Suite, marks: set[str]) -> bool:
    arguments = iter(suite.arguments)
    said = next(next(arguments) for each in arguments if each == "-m")
    return Expression.compile(said).evaluate(lambda name, /, **_: name in marks)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.title)
def test_no_quick_suite_asks_for_what_only_the_long_form_installs_or_has_time_for(suite: Suite) -> None:
    assert not [marks for marks in EVERY if "mysql" in marks and takes(suite, marks)]
    slow = {"control_plane", "kill", "full_cluster"}
    assert not [marks for marks in EVERY if "deep" in marks and marks & slow and takes(suite, marks)]


@pytest.mark.parametrize("also", [set(), {"etcd"}, {"database"}, {"database", "etcd"}])
@pytest.mark.parametrize("place", ["control_plane", "full_cluster", "kill"])
def test_what_is_deep_is_run_by_the_long_form(place: str, also: set[str]) -> None:
    marks = {"deep", place, *also}
    assert len([suite for suite in DEEP if "tests" in suite.arguments and takes(suite, marks)]) == 1
