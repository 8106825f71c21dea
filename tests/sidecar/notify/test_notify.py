"""Outcomes that are told to a real receiver, in both stores, and what becomes of them when something dies."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.between import answered, lost_answer
from tests.sidecar.notify.stage import KEY, NEXT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sidecar.bank.between import Answer, Forward
    from tests.sidecar.notify.stage import Notified

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]


class Hanging:
    """A fault that holds requests until it is let go."""

    def __init__(self) -> None:
        self.met = threading.Event()
        self.over = threading.Event()

    def __call__(self, _forward: Forward) -> Answer | None:
        self.met.set()
        self.over.wait(600)
        return None


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.over.set()


def test_an_outcome_is_told_and_that_is_shown(notified: Notified) -> None:
    name = notified.order()
    found = notified.stands(name, "billing", "Delivered")
    assert found["attempts"] == 1
    assert notified.told(name) == 1
    assert notified.read(name)["status"]["state"] == "Committed"
    assert notified.read(name)["status"]["branches"] == "0/0"
    notified.cluster.kubectl(
        *("wait", "--for=condition=Notified", f"globaltx/{name}", "-n", notified.namespace, "--timeout=30s")
    )


def test_only_who_wants_this_outcome_is_told(notified: Notified) -> None:
    name = notified.order("/refunds/500")
    notified.stands(name, "refunds", "Delivered")
    assert notified.told(name) == 1
    assert notified.read(name)["status"]["state"] == "RolledBack"


def test_what_fails_or_loses_its_answer_is_told_again_and_done_once(notified: Notified) -> None:
    notified.between.fault("", answered(503))
    notified.between.fault("", lost_answer)
    name = notified.order()
    assert notified.stands(name, "billing", "Delivered")["attempts"] == 3
    assert notified.told(name) == 1


def test_it_is_given_up_in_plain_sight_and_holds_nothing_up(notified: Notified) -> None:
    for _ in range(3):
        notified.between.fault("", answered(500))
    name = notified.order()
    found = notified.stands(name, "billing", "GivenUp")
    assert found == {
        "name": "billing",
        "state": "GivenUp",
        "attempts": 3,
        "problem": "given up after attempt 3 of 3: answered with status 500",
    }
    assert notified.condition(name, "Notified")["status"] == "False"
    assert notified.condition(name, "Succeeded")["status"] == "True"
    wanted = ("status", f"{notified.namespace}.{name}"), ("diagnose", f"{notified.namespace}.{name}")
    for words in wanted:
        assert "given up after attempt 3 of 3" in notified.says(*words)
    given_up = 'globaltx_sidecar_notifications_total{result="GivenUp"}'
    assert sum(each.metric(given_up) for each in notified.sidecars) == 1
    assert name in notified.events("NotificationGivenUp")


def test_one_that_hangs_holds_up_neither_the_others_nor_the_end(notified: Notified, hanging: Hanging) -> None:
    notified.beside.fault("", hanging)
    name = notified.order("/both/200")
    notified.stands(name, "billing", "Delivered")
    assert hanging.met.wait(240)
    found = notified.read(name)["status"]
    assert found["state"] == "Committed"
    assert notified.notifications(name)["hangs"]["state"] == "Pending"
    assert notified.condition(name, "Notified")["status"] == "Unknown"


@pytest.mark.kill
def test_when_the_sender_is_killed_another_tells_it(notified: Notified, hanging: Hanging) -> None:
    notified.stands(notified.order(), "billing", "Delivered")  # so that one of them leads
    leader = notified.leader()
    notified.between.fault("", hanging)
    name = notified.order(sidecar=notified.sidecars.index(leader))
    assert hanging.met.wait(240)
    leader.kill()
    try:
        assert notified.stands(name, "billing", "Delivered")["attempts"] == 1
        assert notified.told(name) == 1
    finally:
        leader.start(240)


@pytest.mark.kill
def test_when_the_operator_is_killed_an_outcome_of_meanwhile_is_told(notified: Notified) -> None:
    before = set(notified.outcomes())
    notified.operator.kill()
    try:
        notified.sidecars[0].wait_ready()
        assert notified.send() == 200
    finally:
        notified.operator.start(240)
    name = notified.since(before)
    notified.stands(name, "billing", "Delivered")
    assert notified.told(name) == 1


def test_a_changed_key_needs_no_restart(notified: Notified) -> None:
    """The receiver knows both: it would refuse a third."""
    for key in (NEXT_KEY, KEY):
        notified.sign_with(key)
        name = notified.order()
        assert notified.stands(name, "billing", "Delivered")["attempts"] == 1
    notified.sign_with("whsec_" + "b3Ro" * 8)
    name = notified.order()
    assert "answered with status 401" in notified.stands(name, "billing", "GivenUp")["problem"]


def test_a_transaction_that_is_applied_tells_it_where_the_policy_allows(notified: Notified) -> None:
    """It is kept in Kubernetes, whatever the store of others is."""
    allowed = f"http://127.0.0.1:{notified.between.port}/outcomes"
    wishes = [
        {"name": "billing", "url": allowed},
        {"name": "other", "url": "http://127.0.0.1:1/", "retryAfterSeconds": [1]},
    ]
    spec = {"initiator": "order", "notify": wishes, "outcome": "Rollback", "outcomeReason": "DecidedByPerson"}
    metadata = {"name": "applied", "namespace": notified.namespace}
    manifest = {"apiVersion": "globaltx.io/v1alpha1", "kind": "GlobalTransaction"}
    name = notified.apply(manifest | {"metadata": metadata, "spec": spec})
    notified.stands(name, "billing", "Delivered")
    assert "no notify.egress of the policy allows" in notified.stands(name, "other", "GivenUp")["problem"]
