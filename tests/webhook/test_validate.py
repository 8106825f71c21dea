"""What must not be written beside what is there."""

from __future__ import annotations

from typing import Any

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx_operator.webhook.validate import matters, refusal, saga_refusal


def policy(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    http = {"port": "http", "routes": [{"name": f"{name}-route", "match": {"path": f"/{name}"}}]}
    return {
        "apiVersion": "globaltx.io/v1alpha1",
        "kind": "TransactionPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"http": http, "selector": {"matchLabels": labels or {}}} | spec,
    }


def datasource(**more: Any) -> dict[str, Any]:
    return {"name": "a", "host": "db.example", "schema": "s", "secretName": "x", "aliases": ["db"]} | more


def test_policy_alone_is_fine() -> None:
    assert refusal(policy("a"), []) is None


def test_policy_beside_itself_is_fine() -> None:
    assert refusal(policy("a"), [policy("a")]) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"http": {"port": "web"}}, {}),
        ({"datasources": [datasource()]}, {"datasources": [datasource(aliases=["other"])]}),
        ({"datasources": [datasource()]}, {"datasources": [datasource(name="b")]}),
        ({"datasources": [datasource()]}, {"datasources": [datasource(name="b", host="db", aliases=["c"])]}),
    ],
    ids=["other port", "same datasource", "same alias", "alias is host"],
)
def test_contradiction_is_refused_only_where_one_pod_can_have_both(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    refused = refusal(policy("a", **one), [policy("b", **other)])
    assert refused is not None
    assert refused.reason is Reason.POLICY_CONFLICT
    assert refusal(policy("a", {"app": "a"}, **one), [policy("b", {"app": "b"}, **other)]) is None


def test_unknown_field_is_refused_by_its_path() -> None:
    refused = refusal(policy("a", lockWait=3), [])
    assert refused is not None
    assert refused.reason is Reason.POLICY_INVALID
    assert "lockWait" in refused.message


def test_other_policy_that_cannot_be_read_is_no_hindrance() -> None:
    assert refusal(policy("a"), [{"metadata": {"name": "broken"}, "spec": 3}]) is None


def test_a_saga_tells_its_outcome_only_where_the_policy_allows() -> None:
    places = {"egress": [{"host": "a", "ports": [80]}]}
    beside = policy("p", saga=places, notify={"secretName": "s", **places})
    step = {"name": "one", "request": {"url": "http://a/"}}

    def saga(url: str) -> dict[str, Any]:
        return {"spec": {"saga": {"steps": [step]}, "notify": [{"name": "billing", "url": url}]}}

    assert saga_refusal(saga("http://a/"), beside) is None
    refused = saga_refusal(saga("http://b/"), beside)
    assert refused is not None
    assert "spec.notify[billing].url: no notify.egress of the policy allows b:80" in refused.message
    refused = saga_refusal(saga("http://a/"), policy("p", saga=places))
    assert refused is not None
    assert "spec.notify[billing]" in refused.message


def test_only_a_change_of_what_is_wanted_matters() -> None:
    old = policy("a")
    assert matters(old, None)
    assert matters(policy("a", lockWaitMilliseconds=1), old)
    assert not matters(old | {"status": {"x": 1}}, old)
    leaving = {**policy("a", lockWaitMilliseconds=1), "metadata": {"deletionTimestamp": "now"}}
    assert not matters(leaving, old)
