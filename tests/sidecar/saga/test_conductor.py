"""Sagas that are applied, carried out and waited for as people do, and what becomes of them in a crash."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import Answer, answered

if TYPE_CHECKING:
    from tests.sidecar.bank.between import Forward
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
    names = ("flight", "hotel", "payment")
    assert found["status"]["steps"] == [{"name": name, "state": "Done"} for name in names]
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
    path = '{.status.steps[?(@.name=="flight")].state}'
    wait = ("wait", f"--for=jsonpath={path}=Done", f"globaltx/{name}", "-n", sagas.namespace)
    sagas.cluster.kubectl(*wait, "--timeout=60s")
    sagas.conductors[0].kill()
    try:
        sagas.conductors[1].start()
        assert sagas.wait(name)["status"]["state"] == "Committed"
    finally:
        sagas.conductors[1].stop()
        sagas.conductors[0].start()
    assert sagas.free() == less(free, 1, 1, 1)
    assert [each.calls["step"] for each in sagas.betweens] == [1, 1, 3]


def test_a_deadline_takes_back_what_was_done(sagas: Sagas) -> None:
    free = sagas.free()
    for _ in range(200):
        sagas.hotel.between.fault("step", answered(503))
    endless = {"attempts": 1000, "backoffSeconds": 1, "backoffSecondsMax": 1}
    manifest = sagas.trip(sagas.step("flight"), sagas.step("hotel", retry=endless))
    manifest["spec"]["timeoutSeconds"] = 4
    found = sagas.wait(sagas.apply(manifest), "False")
    assert found["spec"]["outcomeReason"] == "DeadlineExceeded"
    assert found["status"]["state"] == "RolledBack"
    assert sagas.free() == free


def test_no_deadline_comes_between_the_calls_of_the_pivot(sagas: Sagas) -> None:
    free = sagas.free()
    for _ in range(4):
        sagas.hotel.between.fault("step", answered(503))
    retry = {"attempts": 1, "backoffSeconds": 2}
    pivot = sagas.step("hotel", pivot=True, dependsOn=["flight"], retry=retry)
    del pivot["compensation"]
    last = sagas.step("payment", dependsOn=["hotel"])
    del last["compensation"]
    manifest = sagas.trip(sagas.step("flight"), pivot, last)
    manifest["spec"]["timeoutSeconds"] = 3
    found = sagas.wait(sagas.apply(manifest))
    assert found["status"]["state"] == "Committed"
    assert found["spec"]["decidedBy"] == "trip-0"
    assert sagas.hotel.between.calls["step"] == 5
    assert sagas.free() == less(free, 1, 1, 1)


def test_forward_repeats_a_step_until_it_is_done(sagas: Sagas) -> None:
    free = sagas.free()
    for status in (404, 503, 409):
        sagas.flight.between.fault("step", answered(status))
    step = sagas.step("flight", retry={"attempts": 1})
    del step["compensation"]
    found = sagas.wait(sagas.apply(sagas.trip(step, recovery="Forward")))
    assert found["spec"]["outcomeReason"] == "SagaForward"
    assert sagas.flight.between.calls["step"] == 4
    assert sagas.free() == less(free, 1, 0, 0)


def test_a_pivot_that_may_be_done_is_not_given_up_when_the_policy_allows_it_no_more(sagas: Sagas) -> None:
    free = sagas.free()
    narrowed = threading.Event()

    def lost_after_it_was_done(forward: Forward) -> None:
        forward()
        narrowed.wait(60)

    sagas.payment.between.fault("step", lost_after_it_was_done)
    pivot = sagas.step("payment", pivot=True, dependsOn=["flight"], timeoutSeconds=60)
    del pivot["compensation"]
    name = sagas.apply(sagas.trip(sagas.step("flight"), pivot))
    sagas.until("the payment to be called", name, {"payment": "Called"})
    with sagas.narrowed():
        narrowed.set()
        sagas.until_problem("saga.egress", name, "payment")
        assert sagas.states(name)["payment"] == "Retrying"
    assert sagas.wait(name)["status"]["state"] == "Committed"
    assert sagas.free() == less(free, 1, 0, 1)


def test_what_the_policy_does_not_allow_any_more_is_not_called(sagas: Sagas) -> None:
    free = sagas.free()
    narrowed = threading.Event()

    def busy(_: Forward) -> Answer:
        narrowed.wait(60)
        return Answer(503, [("Content-Length", "0")], b"")

    sagas.payment.between.fault("step", busy)
    retry = {"attempts": 9, "backoffSeconds": 5}
    last = sagas.step("payment", dependsOn=["flight"], retry=retry, timeoutSeconds=60)
    name = sagas.apply(sagas.trip(sagas.step("flight"), last))
    sagas.until("the payment to be called", name, {"payment": "Called"})
    with sagas.narrowed():
        narrowed.set()
        found = sagas.come_to(name, {"Conflict", "RolledBack"})
        assert "saga.egress" in found["spec"]["outcomeMessage"]
        # The refused step was called once, and its compensation may not be called either.
        assert sagas.payment.between.calls["compensate"] == 0
        assert found["status"]["state"] == "Conflict"
    sagas.come_to(name, {"RolledBack"})
    assert sagas.free() == free


def test_a_saga_that_no_webhook_has_seen_is_looked_at_before_its_first_call(sagas: Sagas) -> None:
    circle = sagas.step("flight", dependsOn=["hotel"]), sagas.step("hotel", dependsOn=["flight"])
    found = sagas.wait(sagas.apply(sagas.trip(*circle)), "False")
    assert found["spec"]["outcomeReason"] == "SagaInvalid"
    assert "circle" in found["spec"]["outcomeMessage"]
    assert found["status"]["state"] == "RolledBack"
    assert not any(each.calls for each in sagas.betweens)


def test_a_saga_that_is_deleted_is_taken_back_before_it_goes(sagas: Sagas) -> None:
    free = sagas.free()
    for _ in range(200):
        sagas.hotel.between.fault("step", answered(503))
    endless = {"attempts": 1000, "backoffSeconds": 1, "backoffSecondsMax": 1}
    name = sagas.apply(sagas.trip(sagas.step("flight"), sagas.step("hotel", retry=endless)))
    sagas.until("the flight", name, {"flight": "Done", "hotel": "Retrying"})
    sagas.cluster.kubectl("delete", "globaltx", name, "-n", sagas.namespace, "--timeout=60s")
    assert sagas.free() == free


@pytest.mark.parametrize("action", ["Keep", "Retry"])
def test_a_compensation_that_is_refused_waits_for_a_person(sagas: Sagas, action: str) -> None:
    free = sagas.free()
    for _ in range(2):
        sagas.flight.between.fault("compensate", answered(404))
    flight = sagas.step("flight", conflictAfterRefusals=2)
    name = sagas.apply(sagas.trip(flight, sagas.step("hotel", 10**6, dependsOn=["flight"])))
    found = sagas.come_to(name, {"Conflict"})
    assert "CallRefused" in found["status"]["message"]
    assert sagas.free() == less(free, 1, 0, 0)
    assert "RolledBack" in sagas.resolve(name, f"--{action.lower()}")
    found = sagas.come_to(name, {"RolledBack"})
    assert sagas.free() == (less(free, 1, 0, 0) if action == "Keep" else free)
    if action == "Keep":
        assert "ResolvedByPerson" in found["status"]["message"]
