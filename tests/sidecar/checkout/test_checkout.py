"""The example as processes: checkouts that meet every fault at every step; nothing is ever cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.cases import CASES as ALL
from tests.sidecar.bank.cases import Case, meet
from tests.sidecar.bank.page import Cell, Matrix

if TYPE_CHECKING:
    from tests.sidecar.bank.between import Answer, Forward
    from tests.sidecar.checkout.stage import Checkouts

pytestmark = [pytest.mark.control_plane, pytest.mark.kill, pytest.mark.timeout(600)]

STEPS = ("try", "confirm")
ENDS = {"Committed", "RolledBack", "Conflict"}


def runs_out(forward: Forward, checkouts: Checkouts, step: str) -> Answer | None:
    """The account keeps it for too short a time, against its promise."""
    answer = forward() if step == "try" else None
    checkouts.a.let_run_out()
    return answer or forward()


CASES = (*ALL, Case("the reservation runs out too early", runs_out))
MATRIX = Matrix("tcd matrix", "the account's", CASES, STEPS)


@pytest.mark.parametrize(("checkouts", "cell"), MATRIX.cells(), indirect=["checkouts"], scope="module")
def test_whatever_goes_wrong_both_are_confirmed_or_none_or_it_is_told(
    checkouts: Checkouts, cell: Cell
) -> None:
    case, step = cell.case, cell.step
    before, (account, product) = set(checkouts.outcomes()), checkouts.confirmed()
    status = meet(checkouts, step, case, checkouts.buy)
    end = checkouts.reached(before, ENDS)
    conflict = end.state == "Conflict"
    assert conflict == (case.fault is runs_out)
    good = int(end.outcome == "Commit")
    assert checkouts.confirmed() == (account + (0 if conflict else good), product + good)
    assert {operation for each in checkouts.betweens for operation in each.calls} <= set(STEPS)
    assert status != 200 or end.outcome == "Commit"
    MATRIX.note(checkouts.site.store, cell, f"{end.outcome}, in Conflict" if conflict else end.outcome)


def test_the_page_shows_every_cell() -> None:
    MATRIX.check()
