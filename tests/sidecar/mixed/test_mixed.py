"""The example as processes: one outcome for a row, a reservation and a booking, whatever goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered, lost_answer

if TYPE_CHECKING:
    from tests.sidecar.bank.between import Answer, Forward
    from tests.sidecar.mixed.stage import Books, Mixed

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]


def after(before: Books, outcome: str) -> Books:
    if outcome == "Rollback":
        return before
    return before._replace(rows=before.rows + 1, balance=before.balance - 30, free=before.free - 2)


def test_a_sale_commits_in_three_modes(mixed: Mixed) -> None:
    mixed.bank.between.clear()
    mixed.carrier.between.clear()
    before, books, branches = set(mixed.outcomes()), mixed.books(), set(mixed.modes())
    assert mixed.sell() == 200
    assert mixed.settled(before) == "Commit"
    assert mixed.books() == after(books, "Commit")
    assert sorted(mode for name, mode in mixed.modes().items() if name not in branches) == [
        "AT",
        "Saga",
        "TCC",
    ]
    assert mixed.bank.between.calls == {"try": 1, "confirm": 1}
    assert mixed.carrier.between.calls == {"step": 1}


def test_what_fails_at_last_is_undone_in_three_ways(mixed: Mixed) -> None:
    mixed.bank.between.clear()
    mixed.carrier.between.clear()
    before, books = set(mixed.outcomes()), mixed.books()
    assert mixed.sell("?fail") == 409
    assert mixed.settled(before) == "Rollback"
    assert mixed.books() == books
    assert mixed.bank.between.calls == {"try": 1, "cancel": 1}
    assert mixed.carrier.between.calls == {"step": 1, "compensate": 1}


@pytest.mark.parametrize(("price", "parcels"), [(10**6, 2), (30, 10**6)])
def test_what_bank_or_carrier_refuse_leaves_nothing_behind(mixed: Mixed, price: int, parcels: int) -> None:
    before, books = set(mixed.outcomes()), mixed.books()
    assert mixed.sell(price=price, parcels=parcels) == 409
    assert mixed.settled(before) == "Rollback"
    assert mixed.books() == books


@pytest.mark.parametrize(("query", "outcome", "status"), [("", "Commit", 200), ("?fail", "Rollback", 409)])
def test_calls_that_fail_at_first_hold_up_none_of_the_others(
    mixed: Mixed, query: str, outcome: str, status: int
) -> None:
    for between in (mixed.bank.between, mixed.carrier.between):
        for operation in ("confirm", "cancel", "compensate"):
            between.fault(operation, answered(500))
            between.fault(operation, lost_answer)
    before, books = set(mixed.outcomes()), mixed.books()
    assert mixed.sell(query) == status
    assert mixed.settled(before) == outcome
    assert mixed.books() == after(books, outcome)
    mixed.bank.between.clear()
    mixed.carrier.between.clear()


@pytest.mark.kill
@pytest.mark.parametrize("victim", ["shop", "bank", "carrier"])
def test_all_agree_when_a_sidecar_dies_behind_the_last_step(mixed: Mixed, victim: str) -> None:
    killed = mixed.sidecars[victim]

    def step(forward: Forward) -> Answer | None:
        answer = forward()
        killed.kill()
        return answer

    mixed.carrier.between.fault("step", step)
    before, books = set(mixed.outcomes()), mixed.books()
    status = mixed.sell()
    killed.start(60)
    outcome = mixed.settled(before)
    assert mixed.books() == after(books, outcome)
    assert status != 200 or outcome == "Commit"
