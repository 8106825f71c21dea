"""Notifications in resources, policies, settings, keys and what is shown: what is written is read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from globaltx.coordinator.conditions import NotificationState, NotificationStatus, Status
from globaltx.coordinator.policy import Egress, HttpCapture, Notifying, Route
from globaltx.manifest.check import filled, problems
from globaltx.manifest.observed import read_status, write_status
from globaltx.manifest.policy import InvalidPolicyError, PolicyConflictError, merge, read_policy
from globaltx.manifest.projected import Shown, Verb, Wanted, next_write
from globaltx.manifest.resources import (
    branch_from_resource,
    branch_to_resource,
    settlement_status,
    transaction_from_resource,
    transaction_to_resource,
)
from globaltx.manifest.schemas import branches as branch_schema
from globaltx.manifest.schemas import transactions as transaction_schema
from globaltx.manifest.settings import HttpSettings, SidecarSettings
from globaltx.modes import notify
from globaltx.stores.etcd import keys
from globaltx.stores.etcd.requests import KeyValue
from globaltx.transaction.model import Decision, GlobalTransaction
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WISHES = (
    Notify("billing", "http://billing:8080/outcomes?a=1"),
    Notify("refunds", "https://r/", frozenset({Outcome.ROLLBACK}), (), timedelta(seconds=1)),
)
COMMIT = Decision(Outcome.COMMIT, "RequestSucceeded", "answered 200", "pod-1", NOW)
TRANSACTION = GlobalTransaction(
    Xid("shop", "1"), "order", timedelta(seconds=60), policy="p", begun_at=NOW, notify=WISHES
)
(BRANCH,) = notify.branches(TRANSACTION, COMMIT, NOW)
EGRESS = [{"host": "billing", "ports": [8080], "paths": ["/outcomes"]}]


def test_a_transaction_is_read_as_it_was_written() -> None:
    resource = transaction_to_resource(TRANSACTION)
    assert list(problems(transaction_schema.spec(), resource["spec"])) == []
    assert transaction_from_resource(resource) == replace(TRANSACTION, begun_at=None)
    told = keys.write_begin(TRANSACTION, NOW)
    assert keys.read_begin(TRANSACTION.xid, told, None) == TRANSACTION


def test_what_is_left_out_is_what_the_schema_fills_in() -> None:
    spec = {"initiator": "order", "notify": [{"name": "billing", "url": "http://billing:8080/outcomes?a=1"}]}
    resource = {
        "metadata": {"namespace": "shop", "name": "1"},
        "spec": filled(transaction_schema.spec(), spec),
    }
    assert transaction_from_resource(resource).notify == WISHES[:1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://b/{{ xid }}"},
        {"url": "http://user@b/"},
        {"url": "ftp://b/"},
        {"url": "http://b/b\u00fccher"},
        {"url": "http://b/\x1f"},
        {"url": "http://b/#a"},
        {"name": "Billing"},
        {"outcomes": []},
        {"retryAfterSeconds": [0]},
        {"timeoutSeconds": 61},
    ],
    ids=str,
)
def test_what_the_schema_refuses(wrong: dict[str, Any]) -> None:
    spec = {"initiator": "order", "notify": [{"name": "billing", "url": "http://b/", **wrong}]}
    assert list(problems(transaction_schema.spec(), filled(transaction_schema.spec(), spec)))


def test_a_branch_is_read_as_it_was_written() -> None:
    resource = branch_to_resource(BRANCH)
    assert list(problems(branch_schema.spec(), resource["spec"])) == []
    assert branch_from_resource(resource) == BRANCH
    settlement = notify.failed(BRANCH, 1, "no answer")
    resource["status"] = settlement_status(settlement, NOW)
    assert list(problems(branch_schema.status(), resource["status"])) == []
    found = branch_from_resource(resource)
    assert (found.state, found.attempts, found.message) == (State.COMMITTING, 1, settlement.message)


def test_so_are_the_keys_of_an_etcd() -> None:
    layout = keys.Keys("/p/")
    tried = replace(BRANCH, attempts=2, state=State.COMMITTING, reason="r", message="m")
    assert keys.read_branch(BRANCH.id, keys.write_branch(BRANCH)) == replace(BRANCH, outcome=None)
    assert keys.read_open(layout, KeyValue(layout.open(BRANCH.id), keys.write_open(tried), 1)) == tried


def status(*told: NotificationStatus) -> Status:
    return Status(State.COMMITTED, "done", decided_at=NOW, settled_at=NOW, notifications=told)


PENDING = NotificationStatus("billing", attempts=1, problem="no")
GIVEN_UP = NotificationStatus("billing", NotificationState.GIVEN_UP, 5, "no")
DELIVERED = NotificationStatus("stock", NotificationState.DELIVERED, 1)


@pytest.mark.parametrize(
    ("told", "holds", "reason"),
    [
        ((PENDING, DELIVERED), "Unknown", "NotificationPending"),
        ((DELIVERED,), "True", "Notified"),
        ((GIVEN_UP, PENDING), "False", "NotificationGivenUp"),
    ],
)
def test_the_condition_tells_them_together(
    told: tuple[NotificationStatus, ...], holds: str, reason: str
) -> None:
    resource = transaction_to_resource(replace(TRANSACTION, decision=COMMIT))
    body = write_status(status(*told), resource, NOW)
    assert list(problems(transaction_schema.status(), body["status"])) == []
    condition = body["status"]["conditions"][1]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Notified", holds, reason)
    assert read_status({**resource, **body}).notifications == told


def test_what_is_shown_of_an_end_follows_its_notifications() -> None:
    transaction = replace(TRANSACTION, decision=COMMIT)
    wanted = Wanted(transaction, (), status(PENDING))
    assert not wanted.ended
    shown = transaction_to_resource(transaction)
    shown["metadata"]["uid"] = "u"
    shown |= write_status(status(PENDING), shown, NOW)
    assert next_write(wanted, Shown(shown), NOW) is None
    wanted = replace(wanted, status=status(GIVEN_UP))
    assert wanted.ended
    write = next_write(wanted, Shown(shown), NOW)
    assert write is not None
    assert (write.verb, write.body["status"]["notifications"][0]["state"]) == (Verb.STATUS, "GivenUp")


def policy(*wishes: dict[str, Any], name: str = "p", **more: Any) -> dict[str, Any]:
    route: dict[str, Any] = {"name": name, "match": {"path": f"/{name}"}, "begin": {"notify": list(wishes)}}
    return {
        "apiVersion": "globaltx.io/v1alpha1",
        "kind": "TransactionPolicy",
        "metadata": {"name": name},
        "spec": {
            "http": {"port": "http", "routes": [route]},
            "notify": {"secretName": "order-notify", "egress": EGRESS},
        }
        | more,
    }


def wish(**more: Any) -> dict[str, Any]:
    return {"name": "billing", "url": "http://billing:8080/outcomes?a=1", **more}


def test_a_policy_is_read_with_whom_it_tells() -> None:
    found = read_policy(policy(wish()))
    assert found.http is not None
    assert found.http.routes[0].notify == WISHES[:1]
    assert found.notifying == Notifying("order-notify", (Egress("billing", (8080,), ("/outcomes",)),))
    alone = policy()
    del alone["spec"]["http"]
    assert read_policy(alone).http is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            policy(wish(url="http://billing:8081/outcomes")),
            r"notify\[billing\].url: no notify.egress of the policy",
        ),
        (policy(wish(), wish()), "each notification needs a name of its own"),
        (policy(wish(), notify={"secretName": "s"}), "spec.notify.egress: is required"),
        (
            policy(notify={"secretName": "s", "egress": [{"host": "169.254.169.254", "ports": [80]}]}),
            r"spec.notify.egress\[0\].host: .* never called",
        ),
    ],
    ids=["not allowed", "one name twice", "nowhere", "metadata"],
)
def test_what_a_policy_must_not_say(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidPolicyError, match=sentence):
        read_policy(given)


def test_a_route_tells_nobody_without_a_key() -> None:
    given = policy(wish())
    del given["spec"]["notify"]
    with pytest.raises(InvalidPolicyError, match=r"begin\.notify: it needs spec\.notify"):
        read_policy(given)


def test_policies_of_the_same_pods_sign_with_one_key() -> None:
    others = {"secretName": "another", "egress": EGRESS}
    with pytest.raises(PolicyConflictError, match="different Secrets: 'another'"):
        merge(read_policy(each) for each in (policy(), policy(name="q", notify=others)))
    more = {"secretName": "order-notify", "egress": [{"host": "stock", "ports": [80]}]}
    merged = merge(read_policy(each) for each in (policy(), policy(name="q", notify=more)))
    assert merged.notifying is not None
    assert [each.host for each in merged.notifying.egress] == ["billing", "stock"]


def test_the_settings_come_back() -> None:
    found = read_policy(policy(wish()))
    assert isinstance(found.http, HttpCapture)
    routes: tuple[Route, ...] = found.http.routes
    settings = SidecarSettings(
        namespace="shop", app="order", http=HttpSettings(80, routes), notifying=found.notifying
    )
    assert SidecarSettings.from_json(settings.to_json()) == settings
