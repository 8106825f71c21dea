"""The example as processes: trips that go well, that fail, and that meet every fault at every step."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered
from tests.sidecar.bank.cases import CASES, MOMENT_SECONDS, Case, Hit
from tests.sidecar.trip.stage import WANTED

if TYPE_CHECKING:
    from tests.sidecar.trip.stage import Trips

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

PAGE = Path(__file__).parents[3] / "docs" / "modes.md"
MARKED = re.compile(
    r"(?<=<!-- saga matrix: generated)([^\n]*-->\n).*(?=<!-- saga matrix: end -->)", re.DOTALL
)
STEPS = ("step", "compensate")
QUERIES = {"step": "", "compensate": "?fail"}
found: dict[tuple[str, str], str] = {}
"""The outcome of each case and step, as it was met in this run."""


def after(free: tuple[int, ...], outcome: str) -> tuple[int, ...]:
    taken = WANTED.values() if outcome == "Commit" else (0, 0, 0)
    return tuple(left - each for left, each in zip(free, taken, strict=True))


def test_a_trip_commits_and_nothing_is_called(trips: Trips) -> None:
    trips.clear()
    before, free = set(trips.outcomes()), trips.free()
    assert trips.book() == 200
    assert trips.settled(before) == "Commit"
    assert trips.free() == after(free, "Commit")
    assert [each.calls["compensate"] for each in trips.betweens] == [0, 0, 0]


def test_a_trip_that_cannot_be_paid_is_cancelled_and_what_was_not_tried_is_not(trips: Trips) -> None:
    before, free = set(trips.outcomes()), trips.free()
    assert trips.book(price=10**6) == 409
    assert trips.settled(before) == "Rollback"
    assert trips.free() == free


def test_what_was_done_last_is_taken_back_first_across_apps(trips: Trips) -> None:
    trips.clear()
    before, free = set(trips.outcomes()), trips.free()
    for _ in range(3):
        trips.payment.between.fault("compensate", answered(500))
    assert trips.book("?fail") == 409
    assert trips.settled(before) == "Rollback"
    assert trips.free() == free
    flight, hotel, payment = (int(each.look()["changed_at"]) for each in trips.providers)
    assert payment < min(flight, hotel)


@pytest.mark.kill
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_goes_wrong_all_agree(trips: Trips, case: Case, step: str) -> None:
    trips.clear()
    before, free = set(trips.outcomes()), trips.free()
    hits = [Hit(trips, step, case) for _ in range(case.times)]
    for hit in hits:
        trips.a.between.fault(step, hit)
    status = trips.book(QUERIES[step])
    assert hits[0].met.wait(MOMENT_SECONDS), f"the {step} never came"
    if hits[0].killed is not None:
        hits[0].killed.start(60)
    if step == "step":
        trips.a.between.drop("step")
    outcome = trips.settled(before)
    assert trips.free() == after(free, outcome)
    assert status != 200 or outcome == "Commit"
    found[case.name, step] = outcome


def table() -> str:
    rows = [f"| {case.name} | {' | '.join(found[case.name, step] for step in STEPS)} |" for case in CASES]
    head = f"| what happens at the airline's | {' | '.join(STEPS)} |"
    return "\n".join([head, "|---|" + "---|" * len(STEPS), *rows, ""])


@pytest.mark.kill
def test_the_page_shows_what_was_found() -> None:
    missing = [(case.name, step) for case in CASES for step in STEPS if (case.name, step) not in found]
    if missing:
        pytest.skip(f"only a part of the cases was run, not {len(missing)} others")
    page = PAGE.read_text()
    wanted = MARKED.sub(lambda match: match[1] + table(), page)
    if os.environ.get("REWRITE"):
        PAGE.write_text(wanted)
    assert page == wanted
