"""An order across two databases, in real pods on a real kubelet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dev.demo import deploy
from dev.demo.cases import CASES, Case
from dev.shell import CommandError

if TYPE_CHECKING:
    from dev.demo.places import Place
    from dev.demo.shop import Shop

KINDS = ("globaltransaction", "branch", "transactionpolicy")


@pytest.mark.parametrize("case", CASES, ids=[each.title for each in CASES])
def test_an_order_ends_as_it_must(shop: Shop, case: Case) -> None:
    assert case.run(shop).found == case.expected


def test_many_orders_in_a_row_leave_nothing_behind(shop: Shop) -> None:
    before = shop.database.rows()
    statuses = [shop.post(f"/v1/order/create{number % 2 * '2'}").status for number in range(6)]
    assert statuses == [200, 400] * 3
    shop.quiet()
    change = shop.database.rows().since(before)
    assert (change.so_master, change.so_item, change.available, change.undo) == (3, 3, -6, 0)


def test_kubectl_waits_for_the_end_of_a_transaction(shop: Shop) -> None:
    known = set(shop.transactions())
    assert shop.post("/v1/order/create").status == 200
    name = shop.new_transaction(known)
    said = shop.kubectl(
        "-n", shop.namespace, "wait", "--for=condition=Succeeded", f"globaltx/{name}", "--timeout=60s"
    )
    assert "condition met" in said


def test_describe_tells_why_and_when(shop: Shop) -> None:
    known = set(shop.transactions())
    shop.post("/v1/order/create2")
    name = shop.new_transaction(known)
    assert shop.settled(name) == "RolledBack"
    said = shop.kubectl("-n", shop.namespace, "describe", f"globaltx/{name}")
    for told in ("RequestFailed", "400", "Decided At", "Settled At", "Events:"):
        assert told in said


def test_the_columns_of_the_list(shop: Shop) -> None:
    shop.post("/v1/order/create")
    shop.quiet()
    head, *rows = shop.kubectl("-n", shop.namespace, "get", "globaltx").splitlines()
    assert head.split() == ["NAME", "MODE", "STATE", "BRANCHES", "AGE"]
    assert all(row.split()[1] == "AT" for row in rows)
    assert "2/2" in {row.split()[3] for row in rows}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(shop: Shop, kind: str) -> None:
    for part in ("spec", "status"):
        said = shop.kubectl("explain", f"{kind}.{part}", "--recursive=false")
        assert "FIELDS:" in said
        assert "<no description>" not in said
        assert "<empty>" not in said


def test_the_namespace_enforces_restricted_and_everything_is_injected(
    place: Place, shop_namespace: str
) -> None:
    labels = place.kubectl.json(f"namespace/{shop_namespace}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for app in deploy.APPS:
        pods = place.kubectl.json("-n", shop_namespace, "pods", "-l", f"app.kubernetes.io/name={app}")
        for pod in pods["items"]:
            assert [each["name"] for each in pod["spec"]["initContainers"]] == ["globaltx-sidecar"]


def test_only_the_sidecar_holds_a_token_and_the_second_account(place: Place, shop_namespace: str) -> None:
    pods = place.kubectl.json("-n", shop_namespace, "pods", "-l", "app.kubernetes.io/name=order-svc")
    for pod in pods["items"]:
        for container in pod["spec"]["containers"]:
            assert not container.get("volumeMounts")


def test_a_pod_that_did_not_ask_is_untouched(place: Place, shop_namespace: str) -> None:
    created = _create(place, shop_namespace, _pod("bystander", place.images.sample))
    assert "initContainers" not in created["spec"]
    assert "hostAliases" not in created["spec"]


def test_a_pod_that_cannot_be_captured_is_refused_with_the_reason(place: Place, shop_namespace: str) -> None:
    pod = _pod("unnamed", place.images.sample, inject=True)
    pod["metadata"]["labels"] = {"app.kubernetes.io/name": "aggregation-svc"}
    with pytest.raises(CommandError) as refused:
        _create(place, shop_namespace, pod)
    assert "globaltx: PortNotNamed" in refused.value.said


def test_pods_can_be_made_when_globaltx_is_uninstalled(place: Place, shop_namespace: str) -> None:
    deploy.uninstall(place.kubectl)
    try:
        created = _create(place, shop_namespace, _pod("after", place.images.sample, inject=True))
        assert created["metadata"]["name"] == "after"
        hooks = place.kubectl(
            "get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"
        )
        assert "globaltx" not in hooks
    finally:
        deploy.install(place.kubectl, place.images)


def _pod(name: str, image: str, *, inject: bool = False) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {"globaltx.io/inject": "true"} if inject else {}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


def _create(place: Place, namespace: str, pod: dict[str, Any]) -> dict[str, Any]:
    text = place.kubectl("-n", namespace, "create", "-f", "-", "-o", "json", stdin=yaml.safe_dump(pod))
    created: dict[str, Any] = json.loads(text)
    return created
