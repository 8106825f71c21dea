"""A declared trip that meets every fault at the airline's steps; the page shows what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from dev.waiting import wait_for
from tests.sidecar.bank.cases import CASES as ALL
from tests.sidecar.bank.cases import MOMENT_SECONDS, Case, meet
from tests.sidecar.bank.page import Cell, Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sidecar.bank.between import Answer
    from tests.sidecar.bank.stage import Json
    from tests.sidecar.saga.stage import Sagas

pytestmark = [pytest.mark.control_plane, pytest.mark.kill, pytest.mark.timeout(600)]

COLUMNS = ("step", "compensation", "pivot")
CALL_SECONDS = 3


def slow(forward: Callable[[], Answer], sagas: Sagas, step: str) -> Answer | None:
    """A call that goes through once it was made again."""
    calls = sagas.a.between.calls
    wait_for("the call to be made again", lambda: calls[step] > 1, seconds=MOMENT_SECONDS, every=0.02)
    return forward()


CASES = (
    *(each for each in ALL if each.victim is None and each.name != "slow"),
    Case("slow", slow),
    *(
        Case(f"{name} is killed {'before' if before else 'after'} it", None, victim, before=before)
        for name, victim in (
            ("the participant", lambda sagas: sagas.a.service),
            ("the conductor", lambda sagas: sagas.sidecar),
            ("the operator", lambda sagas: sagas.operator),
        )
        for before in (True, False)
    ),
)
MATRIX = Matrix("declared matrix", "the airline's", CASES, COLUMNS)


def trip(sagas: Sagas, column: str) -> Json:
    """Flight and hotel side by side, then the payment; or the hotel, the flight as the pivot, the payment."""
    price = 10**6 if column == "compensation" else 1
    flight = sagas.step("flight", timeoutSeconds=CALL_SECONDS)
    payment = sagas.step("payment", price, dependsOn=["flight", "hotel"])
    if column == "pivot":
        flight |= {"pivot": True}
        del flight["compensation"], payment["compensation"]
    return sagas.trip(flight, sagas.step("hotel"), payment)


@pytest.mark.parametrize(("stage", "cell"), MATRIX.cells(), indirect=["stage"], scope="module")
def test_whatever_goes_wrong_all_is_done_or_nothing(sagas: Sagas, cell: Cell) -> None:
    case, column = cell.case, cell.step
    free, step = sagas.free(), "compensate" if column == "compensation" else "step"
    name = meet(cast("Any", sagas), step, case, lambda: sagas.apply(trip(sagas, column)))
    end = sagas.come_to(name, {"Committed", "RolledBack", "Conflict"})
    outcome = str(end["spec"]["outcome"])
    assert end["status"]["state"] == {"Commit": "Committed", "Rollback": "RolledBack"}[outcome]
    taken = (1, 1, 1) if outcome == "Commit" else (0, 0, 0)
    assert sagas.free() == tuple(left - each for left, each in zip(free, taken, strict=True))
    MATRIX.note(sagas.site.store, cell, outcome)


def test_the_page_shows_every_cell() -> None:
    MATRIX.check()
