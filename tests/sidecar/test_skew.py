"""Pods whose clocks differ by ten and twenty minutes: what they say is wrong, and what is done is right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered
from tests.sidecar.bank.stage import Banks
from tests.sidecar.checkout.stage import Checkouts
from tests.sidecar.clocks import AHEAD, BEHIND, set_wrong
from tests.sidecar.saga.stage import Sagas
from tests.sidecar.shop.stage import SQL
from tests.sidecar.site import EACH_STORE, IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sidecar.bank.between import Answer, Forward

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]

IN_EACH_STORE = pytest.mark.parametrize("banks", EACH_STORE, indirect=True)
ID = "x-request-id"
AMOUNT = 30
DEADLINE_SECONDS = 120.0
"""Much more than the route's 15 s, for a slow machine, and much less than what the clocks differ by."""


@pytest.fixture(scope="module")
def banks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    """The operator's clock is ahead, the initiator's and a bank's behind, the other bank's ahead."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    site = new_site(request, tmp_path_factory, "skew", request.param)
    with MariaDB.up(f"{site.namespace}-{os.getpid()}", sql=SQL, durable=False) as database:
        made = Banks(site, database, ID)
        for program, seconds in (
            (made.operator, AHEAD),
            (made.sidecar, BEHIND),
            (made.a.sidecar, BEHIND),
            (made.b.sidecar, AHEAD),
        ):
            set_wrong(program, seconds)
        with made as running:
            yield running


@IN_EACH_STORE
def test_a_transfer_is_not_taken_for_old(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(AMOUNT, **{ID: "one"}) == 200
    assert banks.settled(before) == "Commit"
    assert banks.balances() == (balances[0] - AMOUNT, balances[1] + AMOUNT)


@IN_EACH_STORE
def test_a_transfer_that_fails_is_cancelled(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(AMOUNT, "?fail", **{ID: "two"}) == 409
    assert banks.settled(before) == "Rollback"
    assert banks.balances() == balances


@IN_EACH_STORE
def test_a_request_id_is_known_again_by_a_pod_with_another_clock(banks: Banks) -> None:
    before, balances = set(banks.outcomes()), banks.balances()
    assert banks.transfer(AMOUNT, **{ID: "three"}) == 200
    assert banks.settled(before) == "Commit"
    banks.sidecar.kill()
    set_wrong(banks.sidecar, AHEAD)
    banks.sidecar.start(60)
    assert banks.transfer(AMOUNT, **{ID: "three"}) == 409  # it has ended, and its answer is not kept here
    assert len(set(banks.outcomes()) - before) == 1
    assert banks.balances() == (balances[0] - AMOUNT, balances[1] + AMOUNT)
    set_wrong(banks.sidecar, BEHIND)
    banks.sidecar.stop()
    banks.sidecar.start(60)


@IN_EACH_STORE
@pytest.mark.parametrize("operator", [AHEAD, BEHIND])
def test_whoever_dies_is_rolled_back_at_the_deadline_and_not_before(banks: Banks, operator: int) -> None:
    banks.operator.kill()
    set_wrong(banks.operator, operator)
    banks.operator.start(60)
    before, balances = set(banks.outcomes()), banks.balances()
    undecided: list[bool] = []

    def dies(forward: Forward) -> Answer | None:
        answer = forward()
        undecided.extend(not each for name, each in banks.outcomes().items() if name not in before)
        banks.sidecar.kill()
        return answer

    banks.a.between.fault("try", dies)
    assert banks.transfer(AMOUNT, **{ID: f"four {operator}"}) != 200
    banks.sidecar.start(60)
    assert undecided == [True]
    assert banks.reached(before, {"RolledBack"}, DEADLINE_SECONDS).outcome == "Rollback"
    assert banks.balances() == balances
    assert banks.reserved() == 0


@pytest.mark.parametrize("store", EACH_STORE)
def test_a_reservation_is_confirmed_in_its_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: str
) -> None:
    made = Checkouts(new_site(request, tmp_path_factory, "skew", store))
    for program, seconds in ((made.operator, AHEAD), (made.sidecar, BEHIND), (made.a.sidecar, AHEAD)):
        set_wrong(program, seconds)
    with made as checkouts:
        before = set(checkouts.outcomes())
        assert checkouts.buy() == 200
        assert checkouts.settled(before) == "Commit"
        assert checkouts.confirmed() == (1, 1)


def test_a_conductor_goes_on_in_time_where_one_with_another_clock_has_died(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What the first wrote down of its last call is ten minutes in the future of a clock that is right."""
    made = Sagas(new_site(request, tmp_path_factory, "skew", IN_KUBERNETES))
    made.apply(made.policy())
    for program, seconds in (
        (made.operator, BEHIND),
        (made.conductors[0], AHEAD),
        (made.conductors[1], BEHIND),
    ):
        set_wrong(program, seconds)
    with made as sagas:
        for _ in range(2):
            sagas.payment.between.fault("step", answered(503))
        retry = {"attempts": 10, "backoffSeconds": 2}
        name = sagas.apply(sagas.trip(sagas.step("flight"), sagas.step("payment", retry=retry)))
        sagas.until("the payment to fail", name, {"flight": "Done", "payment": "Retrying"})
        sagas.conductors[0].kill()
        with sagas.conductors[1]:
            assert sagas.wait(name)["status"]["state"] == "Committed"
        assert sagas.payment.between.calls["step"] == 3
