"""The example as processes: trips that go well, that fail, and that meet every fault at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered
from tests.sidecar.bank.cases import CASES, meet
from tests.sidecar.bank.page import Cell, Matrix
from tests.sidecar.trip.stage import WANTED

if TYPE_CHECKING:
    from tests.sidecar.trip.stage import Trips

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

STEPS = ("step", "compensate")
QUERIES = {"step": "", "compensate": "?fail"}
MATRIX = Matrix("saga matrix", "the airline's", CASES, STEPS)


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
@pytest.mark.parametrize(("trips", "cell"), MATRIX.cells(), indirect=["trips"], scope="module")
def test_whatever_goes_wrong_all_agree(trips: Trips, cell: Cell) -> None:
    case, step = cell.case, cell.step
    before, free = set(trips.outcomes()), trips.free()
    status = meet(trips, step, case, lambda: trips.book(QUERIES[step]))
    outcome = trips.settled(before)
    assert trips.free() == after(free, outcome)
    assert status != 200 or outcome == "Commit"
    MATRIX.note(trips.site.store, cell, outcome)


@pytest.mark.kill
def test_the_page_shows_every_cell() -> None:
    MATRIX.check()
