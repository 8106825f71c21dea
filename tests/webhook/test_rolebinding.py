"""The binding of the sidecar's role."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.resource import ROLE_BINDINGS
from globaltx_operator.webhook.rolebinding import NAME_LENGTH_MAX, bind_role, binding_name, role_binding

if TYPE_CHECKING:
    from globaltx.stores.kubernetes.client import KubernetesClient


def test_it_grants_one_role_to_one_account_in_one_namespace() -> None:
    made = role_binding("shop", "orders")
    assert made["metadata"]["name"] == "globaltx-sidecar-orders"
    assert made["roleRef"]["name"] == "globaltx-sidecar"
    assert made["subjects"] == [{"kind": "ServiceAccount", "name": "orders", "namespace": "shop"}]


def test_long_names_stay_within_bounds_and_apart() -> None:
    long = "a" * 252
    names = {binding_name(long + last) for last in "bc"}
    assert len(names) == 2
    assert {len(name) for name in names} == {NAME_LENGTH_MAX}


async def test_many_at_once_make_one(kubernetes: KubernetesClient, namespace: str) -> None:
    await asyncio.gather(*(bind_role(kubernetes, namespace, "orders") for _ in range(8)))
    bindings = (await kubernetes.list(ROLE_BINDINGS, namespace)).items
    assert [each["metadata"]["name"] for each in bindings] == ["globaltx-sidecar-orders"]
