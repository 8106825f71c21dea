"""The webhook as an API server asks it: what is patched, what is refused, who is let alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.stores.kubernetes.errors import (
    ForbiddenError,
    InvalidError,
    KubernetesError,
    NotFoundError,
    UnavailableError,
)
from globaltx.stores.kubernetes.resource import (
    NAMESPACES,
    POLICIES,
    ROLE_BINDINGS,
    SECRETS,
    TRANSACTIONS,
)
from tests.webhook.conftest import pod, sidecar, until

if TYPE_CHECKING:
    from dev.cluster.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient
    from tests.webhook.conftest import Webhook

BINDING = "globaltx-sidecar-default"


def policy(name: str = "orders", **spec: Any) -> dict[str, Any]:
    routes = [{"name": "create", "match": {"path": "/orders"}}]
    return {"metadata": {"name": name}, "spec": {"http": {"port": "http", "routes": routes}} | spec}


DATASOURCE = {
    "name": "orders",
    "host": "mysql.shop.svc.cluster.local",
    "schema": "orders",
    "aliases": ["mysql"],
    "secretName": "orders-db",
}


async def started(webhook: Webhook, *policies: dict[str, Any]) -> None:
    """Start it, and wait until the API server asks it: a pod that no policy selects is refused."""
    await webhook.start()
    await until("the API server to ask us", lambda: refused(webhook, "NoPolicy"))
    for each in policies:
        await webhook.client.create(POLICIES, each, webhook.namespace)


async def refused(webhook: Webhook, reason: str, body: dict[str, Any] | None = None) -> bool:
    try:
        await webhook.create(body or pod())
    except KubernetesError as error:
        return reason in str(error)
    return False


async def test_pod_that_asks_is_patched_and_accepted(webhook: Webhook) -> None:
    await started(webhook, policy(datasources=[DATASOURCE]))
    created = await webhook.create(pod(), dry_run=False)
    ours = sidecar(created)
    assert ours is not None
    assert ours["restartPolicy"] == "Always"
    assert ours["ports"][0] == {"name": "http", "containerPort": 15000, "protocol": "TCP"}
    assert created["spec"]["containers"][0]["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert created["spec"]["hostAliases"] == [{"ip": "127.0.0.2", "hostnames": ["mysql"]}]


async def test_application_mounts_nothing_of_ours(webhook: Webhook) -> None:
    await started(webhook, policy(datasources=[DATASOURCE]))
    created = await webhook.create(pod())
    ours = sidecar(created)
    assert ours is not None
    assert {"globaltx-token", "globaltx-credentials"} <= {each["name"] for each in ours["volumeMounts"]}
    for container in created["spec"]["containers"]:
        assert all("globaltx" not in each["name"] for each in container.get("volumeMounts", ()))


async def test_pod_security_restricted_admits_the_sidecar(
    webhook: Webhook, kubernetes: KubernetesClient
) -> None:
    await started(webhook, policy(datasources=[DATASOURCE]))
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await kubernetes.patch(NAMESPACES, webhook.namespace, label)
    lax = pod()
    await until("the namespace's label", lambda: refused(webhook, "PodSecurity", lax))
    strict = pod()
    strict["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert sidecar(await webhook.create(strict)) is not None


async def test_role_is_bound_at_admission_but_not_on_dry_run(
    webhook: Webhook, kubernetes: KubernetesClient, control_plane: Cluster
) -> None:
    await started(webhook, policy())
    await webhook.create(pod(), dry_run=True)
    with pytest.raises(NotFoundError):
        await kubernetes.get(ROLE_BINDINGS, BINDING, webhook.namespace)
    await webhook.create(pod(), dry_run=False)
    await webhook.create(pod(), dry_run=False)  # finds it there
    account = f"--as=system:serviceaccount:{webhook.namespace}:default"

    async def can(*words: str) -> bool:
        command = ("auth", "can-i", *words, "--namespace", webhook.namespace, account, "--quiet")
        try:
            await asyncio.to_thread(control_plane.kubectl, *command)
        except Exception:  # noqa: BLE001  kubectl says no by its exit code
            return False
        return True

    await until("the binding to hold", lambda: can("create", "branches.globaltx.io"))
    assert await can("patch", "globaltransactions.globaltx.io")
    assert not await can("delete", "globaltransactions.globaltx.io")
    assert not await can("get", "secrets")


async def test_pod_that_was_injected_offline_is_left_as_it_is_and_gets_the_role(webhook: Webhook) -> None:
    await started(webhook, policy())
    image = {"name": "globaltx-sidecar", "image": "other", "restartPolicy": "Always"}
    created = await webhook.create(pod(initContainers=[image]), dry_run=False)
    ours = sidecar(created)
    assert ours is not None
    assert ours["image"] == "other"
    await webhook.client.get(ROLE_BINDINGS, BINDING, webhook.namespace)


async def test_refusals_reach_whoever_creates_the_pod(webhook: Webhook) -> None:
    await started(webhook, policy())
    with pytest.raises(ForbiddenError, match="HostNetwork: the pod has hostNetwork: true"):
        await webhook.create(pod(hostNetwork=True))
    with pytest.raises(ForbiddenError, match=r'InvalidAnnotation: .*write "true" or "false"'):
        await webhook.create(pod(metadata={"annotations": {"globaltx.io/inject": "yes"}}))
    with pytest.raises(ForbiddenError, match="PortNotNamed: no container has a port named 'http'"):
        await webhook.create(pod(containers=[{"name": "a", "image": "b"}]))


async def test_policy_and_pod_may_come_in_one_breath(webhook: Webhook) -> None:
    await started(webhook)
    for index in range(10):
        label = {"app": f"app-{index}"}
        only = policy(f"p-{index}", selector={"matchLabels": label})
        await webhook.client.create(POLICIES, only, webhook.namespace)
        assert sidecar(await webhook.create(pod(metadata={"labels": label}))) is not None


async def test_policies_that_contradict_each_other_are_refused(webhook: Webhook) -> None:
    await started(webhook, policy(selector={"matchLabels": {"app": "orders"}}))
    with pytest.raises(ForbiddenError, match=r"PolicyConflict: .*both match the request 'POST /orders'"):
        await webhook.client.create(POLICIES, policy("other"), webhook.namespace)
    apart = policy("other", selector={"matchLabels": {"app": "else"}})
    await webhook.client.create(POLICIES, apart, webhook.namespace)


async def test_what_the_schema_cannot_say_is_refused_with_its_field(webhook: Webhook) -> None:
    await started(webhook)
    alias_is_host = DATASOURCE | {"host": "mysql"}
    with pytest.raises((ForbiddenError, InvalidError), match="sidecar would connect to itself"):
        await webhook.client.create(POLICIES, policy(datasources=[alias_is_host]), webhook.namespace)


FLIGHT: dict[str, Any] = {
    "name": "flight",
    "request": {"url": "http://flight:3000/bookings", "body": '{"seats": 1}'},
}


def saga(*steps: dict[str, Any], policy: str = "trip") -> dict[str, Any]:
    declared = {"mode": "Saga", "initiator": "trip", "policy": policy, "saga": {"steps": list(steps)}}
    return {"metadata": {"generateName": "trip-"}, "spec": declared}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (saga(FLIGHT, policy="other"), "NoPolicy"),
        (saga(FLIGHT, policy="orders"), "DestinationNotAllowed"),
        (saga(FLIGHT | {"request": {"url": "http://hotel:3000/"}}), "allows hotel:3000"),
        (saga(FLIGHT | {"dependsOn": ["b"]}, FLIGHT | {"name": "b", "dependsOn": ["flight"]}), "circle"),
        (
            saga(FLIGHT | {"request": {"url": "http://flight:3000/bookings", "body": '"{{ x }}"'}}),
            "no template",
        ),
        (
            saga(FLIGHT | {"request": FLIGHT["request"] | {"headers": [{"name": "Cookie", "value": "x"}]}}),
            "hold secrets",
        ),
    ],
    ids=["no such policy", "no egress", "another host", "circle", "template", "secret"],
)
async def test_a_saga_that_could_not_be_carried_out_is_refused_also_on_dry_run(
    webhook: Webhook, body: dict[str, Any], sentence: str
) -> None:
    egress = {"egress": [{"host": "flight", "ports": [3000], "paths": ["/bookings"]}]}
    await started(webhook, policy(), policy("trip", http={"port": "http"}, saga=egress))
    for dry_run in (True, False):
        with pytest.raises(KubernetesError, match=sentence):
            await webhook.client.create(TRANSACTIONS, body, webhook.namespace, dry_run=dry_run)
    await webhook.client.create(TRANSACTIONS, saga(FLIGHT), webhook.namespace, dry_run=True)


NEVER_CALLED = {"egress": [{"host": "169.254.169.254", "ports": [80]}]}


async def test_a_policy_that_cannot_be_read_is_in_the_way_of_its_own_pods_only(webhook: Webhook) -> None:
    """The schema takes it, so it may have come while nobody looked, or before an upgrade."""
    elsewhere = {"matchLabels": {"app": "else"}}
    await webhook.client.create(
        POLICIES, policy("wrong", selector=elsewhere, saga=NEVER_CALLED), webhook.namespace
    )
    await started(webhook, policy(selector={"matchLabels": {"app": "orders"}}))
    assert sidecar(await webhook.create(pod())) is not None
    its_own = pod(metadata={"labels": {"app": "else"}})
    with pytest.raises(ForbiddenError, match=r"PolicyInvalid: TransactionPolicy wrong .*never called"):
        await webhook.create(its_own)


async def test_metadata_of_a_contradicting_policy_may_change(webhook: Webhook) -> None:
    for name in ("a", "b"):  # before anybody looks
        await webhook.client.create(POLICIES, policy(name), webhook.namespace)
    await webhook.start()
    await until("the API server to ask us", lambda: refused(webhook, "PolicyConflict"))
    label = {"metadata": {"labels": {"team": "x"}}}
    await webhook.client.patch(POLICIES, "a", label, webhook.namespace)
    with pytest.raises(ForbiddenError, match="PolicyConflict"):
        await webhook.client.patch(POLICIES, "a", {"spec": {"lockWaitMilliseconds": 1}}, webhook.namespace)
    await webhook.client.delete(POLICIES, "a", webhook.namespace)


async def test_webhook_that_is_down_blocks_only_pods_that_asked(webhook: Webhook) -> None:
    await started(webhook)
    await webhook.stop()
    await until("the API server to meet nobody", lambda: refused(webhook, "failed calling webhook"))
    for written in ({}, {"globaltx.io/inject": "false"}, {"other": "true"}):
        created = await webhook.create(pod(metadata={"annotations": written}))
        assert sidecar(created) is None
    await webhook.client.create(POLICIES, policy(), webhook.namespace)
    with pytest.raises((UnavailableError, InvalidError)):
        await webhook.create(pod())


async def test_restart_serves_with_the_certificate_that_is_trusted_already(webhook: Webhook) -> None:
    await started(webhook, policy())
    await webhook.stop()
    await until("the API server to meet nobody", lambda: refused(webhook, "failed calling webhook"))
    before = await webhook.client.get(*secret(webhook))
    await webhook.start()
    assert sidecar(await webhook.create(pod())) is not None
    assert (await webhook.client.get(*secret(webhook)))["data"] == before["data"]


def secret(webhook: Webhook) -> tuple[Any, str, str]:
    return SECRETS, "globaltx-webhook-certificate", webhook.namespace
