"""The condition Ready of policies, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from globaltx.stores.kubernetes.resource import POLICIES, SECRETS
from globaltx_operator.events import Recorder
from globaltx_operator.policies import PolicyCache, PolicyReconciler
from tests.operator.replicas import Replica, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dev.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient
    from tests.operator.replicas import Field

pytestmark = pytest.mark.control_plane

ROUTE = {"name": "create", "match": {"path": "/order"}}
DATASOURCE = {"name": "order", "host": "10.0.0.1", "schema": "order", "secretName": "database"}


@pytest.fixture
async def replica(control_plane: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Replica]:
    started = Replica(control_plane.kubeconfig, namespace, tmp_path).start()
    try:
        yield await started.ready()
    finally:
        await started.end()


class Policies:
    def __init__(self, field: Field) -> None:
        self.client: KubernetesClient = field.client
        self.namespace = field.namespace

    async def create(self, name: str, **spec: Any) -> None:
        await self.client.create(POLICIES, {"metadata": {"name": name}, "spec": spec}, self.namespace)

    async def says(self, name: str, status: str, reason: str) -> str:
        async def check() -> str | None:
            found = await self.client.get(POLICIES, name, self.namespace)
            for each in (found.get("status") or {}).get("conditions", ()):
                if (each["type"], each["status"], each["reason"]) == ("Ready", status, reason):
                    assert each["observedGeneration"] == found["metadata"]["generation"]
                    return str(each["message"])
            return None

        return str(await eventually(f"policy {name} is {reason}", check))


@pytest.fixture
async def policies(field: Field) -> Policies:
    return Policies(field)


@pytest.mark.usefixtures("replica")
async def test_a_policy_without_fault_is_ready(policies: Policies) -> None:
    await policies.create("order", http={"port": "http", "routes": [ROUTE]})
    await policies.says("order", "True", "Ready")


@pytest.mark.usefixtures("replica")
async def test_two_policies_that_claim_one_route_are_both_told_until_one_gives_way(
    policies: Policies,
) -> None:
    await policies.create("one", http={"port": "http", "routes": [ROUTE]})
    await policies.create("two", http={"port": "http", "routes": [{**ROUTE, "name": "other"}]})
    for name in ("one", "two"):
        message = await policies.says(name, "False", "PolicyConflict")
        assert "one and two both match the request 'POST /order'" in message
    await policies.client.delete(POLICIES, "two", policies.namespace)
    await policies.says("one", "True", "Ready")


async def test_a_policy_whose_end_no_watch_has_told_contradicts_nobody(policies: Policies) -> None:
    """So it is when a watch has to list anew and the policy was deleted just before."""
    cache, client = PolicyCache(), policies.client
    otherwise: list[str] = []
    cache.shows_otherwise = otherwise.append
    for name, projection in (("one", "All"), ("two", "Unsettled")):
        await policies.create(name, http={"port": "http", "routes": [ROUTE]}, projection=projection)
        cache.put(await client.get(POLICIES, name, policies.namespace))
    reconcile = PolicyReconciler(client, cache, Recorder(client, "test", client.utc), client.utc)
    await reconcile(policies.namespace)
    await policies.says("two", "False", "PolicyConflict")
    await client.delete(POLICIES, "one", policies.namespace)
    otherwise.clear()
    await reconcile(policies.namespace)
    await policies.says("two", "True", "Ready")
    assert [each["metadata"]["name"] for each in cache.of(policies.namespace)] == ["two"]
    assert otherwise == [policies.namespace]


@pytest.mark.usefixtures("replica")
async def test_policies_for_different_pods_do_not_meet(policies: Policies) -> None:
    for name in ("one", "two"):
        selector = {"matchLabels": {"app": name}}
        await policies.create(name, selector=selector, http={"port": "http", "routes": [ROUTE]})
    for name in ("one", "two"):
        await policies.says(name, "True", "Ready")


@pytest.mark.usefixtures("replica")
async def test_a_datasource_needs_its_secret(policies: Policies) -> None:
    await policies.create("order", datasources=[DATASOURCE])
    message = await policies.says("order", "False", "SecretMissing")
    assert message == "Secret 'database' does not exist; create it with username and password"
    secret: dict[str, Any] = {"metadata": {"name": "database"}, "stringData": {"username": "u"}}
    await policies.client.create(SECRETS, secret, policies.namespace)
    message = await policies.says("order", "False", "SecretIncomplete")
    assert message == "Secret 'database' lacks password; add it"
    await policies.client.patch(SECRETS, "database", {"stringData": {"password": "p"}}, policies.namespace)
    await policies.says("order", "True", "Ready")


@pytest.mark.usefixtures("replica")
async def test_tls_needs_its_secrets(policies: Policies) -> None:
    for name in ("database", "authority"):
        secret = {"metadata": {"name": name}, "stringData": {"username": "u", "password": "p"}}
        await policies.client.create(SECRETS, secret, policies.namespace)
    tls = {"mode": "VerifyIdentity", "caSecretName": "authority", "serverSecretName": "shown"}
    await policies.create("order", datasources=[{**DATASOURCE, "tls": tls}])
    message = await policies.says("order", "False", "SecretIncomplete")
    assert message == "Secret 'authority' lacks ca.crt; add it"
    await policies.client.patch(SECRETS, "authority", {"stringData": {"ca.crt": "c"}}, policies.namespace)
    message = await policies.says("order", "False", "SecretMissing")
    assert message == "Secret 'shown' does not exist; create it with tls.crt and tls.key"
    shown = {"metadata": {"name": "shown"}, "stringData": {"tls.crt": "c", "tls.key": "k"}}
    await policies.client.create(SECRETS, shown, policies.namespace)
    await policies.says("order", "True", "Ready")
