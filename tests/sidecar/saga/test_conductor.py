"""Sagas that are applied, carried out and waited for as people do, and what becomes of them in a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered

if TYPE_CHECKING:
    from tests.sidecar.saga.stage import Sagas

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(300)]


def less(free: tuple[int, ...], *taken: int) -> tuple[int, ...]:
    return tuple(left - each for left, each in zip(free, taken, strict=True))


def test_a_saga_commits(sagas: Sagas) -> None:
    free = sagas.free()
    name = sagas.apply(sagas.trip())
    found = sagas.wait(name)
    assert found["status"]["state"] == "Committed"
    assert found["spec"]["outcomeReason"] == "SagaCompleted"
    assert found["status"]["branches"] == "3/3"
    assert sagas.free() == less(free, 2, 1, 30)
    assert sagas.states(name) == dict.fromkeys(("flight", "hotel", "payment"), "Done")


def test_a_step_that_is_refused_takes_back_what_was_done(sagas: Sagas) -> None:
    free = sagas.free()
    steps = sagas.step("flight"), sagas.step("hotel")
    name = sagas.apply(sagas.trip(*steps, sagas.step("payment", 10**6, dependsOn=["flight", "hotel"])))
    found = sagas.wait(name, "False")
    assert found["status"]["state"] == "RolledBack"
    assert found["spec"]["outcomeReason"] == "StepFailed"
    assert "payment" in found["spec"]["outcomeMessage"]
    assert sagas.free() == free
    assert sagas.states(name) == dict.fromkeys(("flight", "hotel", "payment"), "Compensated")


@pytest.mark.kill
def test_a_conductor_that_is_killed_is_followed_by_the_next_and_no_done_step_is_repeated(
    sagas: Sagas,
) -> None:
    free = sagas.free()
    for _ in range(2):
        sagas.payment.between.fault("step", answered(503))
    retry = {"attempts": 10, "backoffSeconds": 2}
    steps = sagas.step("flight"), sagas.step("hotel")
    last = sagas.step("payment", dependsOn=["flight", "hotel"], retry=retry)
    name = sagas.apply(sagas.trip(*steps, last))
    sagas.until("the payment to fail", name, {"flight": "Done", "hotel": "Done", "payment": "Retrying"})
    sagas.conductors[0].kill()
    try:
        sagas.conductors[1].start()
        assert sagas.wait(name)["status"]["state"] == "Committed"
    finally:
        sagas.conductors[1].stop()
        sagas.conductors[0].start()
    assert sagas.free() == less(free, 1, 1, 1)
    assert [each.calls["step"] for each in sagas.betweens] == [1, 1, 3]
