"""Each verb against a real API server."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.stores.kubernetes import client as module
from globaltx.stores.kubernetes import transport
from globaltx.stores.kubernetes.access import in_cluster
from globaltx.stores.kubernetes.client import EventType, KubernetesClient, PatchKind
from globaltx.stores.kubernetes.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotServedError,
    UnavailableError,
)
from globaltx.stores.kubernetes.resource import (
    CONFIG_MAPS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    TRANSACTIONS,
    Resource,
)
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from globaltx.stores.kubernetes.access import Access
    from tests.stores.cable import Cable


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"test": "yes"}}, "data": data}


async def test_create_get_and_delete(kubernetes: KubernetesClient, namespace: str) -> None:
    made = await kubernetes.create(CONFIG_MAPS, config_map("one", a="1"), namespace)
    assert await kubernetes.get(CONFIG_MAPS, "one", namespace) == made
    with pytest.raises(AlreadyExistsError):
        await kubernetes.create(CONFIG_MAPS, config_map("one"), namespace)
    with pytest.raises(ConflictError):
        await kubernetes.delete(CONFIG_MAPS, "one", namespace, uid="another")
    await kubernetes.delete(CONFIG_MAPS, "one", namespace, uid=made["metadata"]["uid"])
    with pytest.raises(NotFoundError):
        await kubernetes.get(CONFIG_MAPS, "one", namespace)


async def test_a_dry_run_makes_nothing(kubernetes: KubernetesClient, namespace: str) -> None:
    await kubernetes.create(CONFIG_MAPS, config_map("one"), namespace, dry_run=True)
    with pytest.raises(NotFoundError):
        await kubernetes.get(CONFIG_MAPS, "one", namespace)


async def test_replace_is_compare_and_set(kubernetes: KubernetesClient, namespace: str) -> None:
    made = await kubernetes.create(CONFIG_MAPS, config_map("one", a="1"), namespace)
    await kubernetes.replace(CONFIG_MAPS, {**made, "data": {"a": "2"}}, namespace)
    with pytest.raises(ConflictError):
        await kubernetes.replace(CONFIG_MAPS, {**made, "data": {"a": "3"}}, namespace)
    assert (await kubernetes.get(CONFIG_MAPS, "one", namespace))["data"] == {"a": "2"}


async def test_the_three_kinds_of_patch(kubernetes: KubernetesClient, namespace: str) -> None:
    await kubernetes.create(CONFIG_MAPS, config_map("one", a="1", b="1"), namespace)
    await kubernetes.patch(CONFIG_MAPS, "one", {"data": {"a": None}}, namespace)
    operations = [{"op": "add", "path": "/data/c", "value": "3"}]
    await kubernetes.patch(CONFIG_MAPS, "one", operations, namespace, kind=PatchKind.JSON)
    applied = {"metadata": {"name": "one"}, "data": {"b": "2"}}
    found = await kubernetes.patch(CONFIG_MAPS, "one", applied, namespace, kind=PatchKind.APPLY)
    assert found["data"] == {"b": "2", "c": "3"}
    await kubernetes.patch(CONFIG_MAPS, "new", {"metadata": {"name": "new"}}, namespace, kind=PatchKind.APPLY)
    assert (await kubernetes.get(CONFIG_MAPS, "new", namespace))["kind"] == "ConfigMap"


async def test_a_list_is_whole_over_its_pages(
    kubernetes: KubernetesClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    names = [f"map-{number}" for number in range(5)]
    for name in names:
        await kubernetes.create(CONFIG_MAPS, config_map(name), namespace)
    listing = await kubernetes.list(CONFIG_MAPS, namespace, labels="test=yes")
    assert [each["metadata"]["name"] for each in listing.items] == names
    assert {(each["apiVersion"], each["kind"]) for each in listing.items} == {("v1", "ConfigMap")}
    chosen = await kubernetes.list(CONFIG_MAPS, namespace, fields="metadata.name=map-3")
    assert len(chosen.items) == 1
    everywhere = await kubernetes.list(CONFIG_MAPS, labels="test=yes")
    assert len(everywhere.items) >= 5


async def test_a_watch_goes_on_from_a_version(kubernetes: KubernetesClient, namespace: str) -> None:
    version = (await kubernetes.list(CONFIG_MAPS, namespace)).resource_version
    await kubernetes.create(CONFIG_MAPS, config_map("one"), namespace)
    await kubernetes.patch(CONFIG_MAPS, "one", {"data": {"a": "1"}}, namespace)
    await kubernetes.delete(CONFIG_MAPS, "one", namespace)
    opened: list[bool] = []
    watch = kubernetes.watch(
        CONFIG_MAPS,
        namespace,
        resource_version=version,
        labels="test=yes",
        seconds=3,
        opened=lambda: opened.append(True),
    )
    async with asyncio.timeout(30):
        types = [event.type async for event in watch]
    assert types[:3] == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
    assert set(types[3:]) <= {EventType.BOOKMARK}
    assert opened == [True]


async def test_a_version_that_is_too_old_is_told(kubernetes: KubernetesClient, namespace: str) -> None:
    # The API server remembers this kind only from its definition on, which was made after version 1.
    with pytest.raises(ExpiredError):
        await anext(kubernetes.watch(TRANSACTIONS, namespace, resource_version="1", seconds=30))


async def test_the_servers_sentence_comes_through(kubernetes: KubernetesClient, namespace: str) -> None:
    body = {"metadata": {"name": "x"}, "spec": {"initiator": "shop", "outcome": "Perhaps"}}
    with pytest.raises(InvalidError, match='"Perhaps": supported values: "Commit", "Rollback"'):
        await kubernetes.create(TRANSACTIONS, body, namespace)


async def test_a_missing_right_is_told(access: Access, namespace: str) -> None:
    # Without a certificate, and with a token that nobody issued.
    stranger = replace(access, token=lambda: "stranger", context=_without_certificate(access))
    async with KubernetesClient(stranger) as client:
        with pytest.raises(ForbiddenError):
            await client.get(CONFIG_MAPS, "one", namespace)


async def test_a_rotated_token_is_used_without_a_restart(
    access: Access,
    kubernetes: KubernetesClient,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = {"metadata": {"name": "sidecar"}}
    await kubernetes.create(SERVICE_ACCOUNTS, account, namespace)
    asked = SERVICE_ACCOUNTS.path(namespace, "sidecar", "token")
    token = (await kubernetes.request("POST", asked, body={"spec": {"expirationSeconds": 600}}))["status"][
        "token"
    ]
    await kubernetes.create(
        ROLE_BINDINGS,
        {
            "metadata": {"name": "sidecar"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": "sidecar", "namespace": namespace}],
        },
        namespace,
    )
    context = _without_certificate(access)()
    authorities = [ssl.DER_cert_to_PEM_cert(each) for each in context.get_ca_certs(binary_form=True)]
    (tmp_path / "ca.crt").write_text("".join(authorities))
    (tmp_path / "token").write_text("expired")
    (tmp_path / "namespace").write_text(namespace)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", access.server.rpartition(":")[2])
    async with KubernetesClient(in_cluster(str(tmp_path))) as client:
        with pytest.raises(ForbiddenError):
            await client.list(CONFIG_MAPS, namespace)
        (tmp_path / "new").write_text(token)
        (tmp_path / "new").rename(tmp_path / "token")
        # The right to list comes a moment after the binding was made.
        await eventually(partial(_lists, client, namespace))
        with pytest.raises(ForbiddenError, match="cannot list"):
            await client.list(SECRETS, namespace)


async def _lists(client: KubernetesClient, namespace: str) -> bool:
    try:
        await client.list(CONFIG_MAPS, namespace)
    except ForbiddenError:
        return False
    return True


def _without_certificate(access: Access) -> Any:
    given = access.context()
    assert given is not None
    context = ssl.create_default_context()
    for authority in given.get_ca_certs(binary_form=True):
        context.load_verify_locations(cadata=authority)
    return lambda: context


async def test_a_server_of_another_authority_is_not_talked_to(access: Access) -> None:
    context = ssl.create_default_context()
    async with KubernetesClient(replace(access, context=lambda: context)) as client:
        with pytest.raises(UnavailableError, match="certificate"):
            await client.list(CONFIG_MAPS)


async def test_a_kind_that_is_not_served_is_not_an_object_that_is_gone(
    kubernetes: KubernetesClient, namespace: str
) -> None:
    for kind in (
        Resource("globaltx.io", "v1alpha1", "ghosts", "Ghost"),
        Resource("none.io", "v1", "ghosts", "Ghost"),
    ):
        with pytest.raises(NotServedError):
            await kubernetes.get(kind, "one", namespace)


async def test_a_create_in_a_namespace_that_does_not_exist(kubernetes: KubernetesClient) -> None:
    with pytest.raises(NotFoundError):
        await kubernetes.create(CONFIG_MAPS, config_map("one"), "no-such-namespace")


async def test_a_server_that_does_not_answer_is_given_up(by_cable: Access, cable: Cable) -> None:
    async with KubernetesClient(by_cable, timeout=1) as client:
        await client.list(CONFIG_MAPS)
        cable.freeze()
        with pytest.raises(UnavailableError, match="no answer within 1 s"):
            await client.list(CONFIG_MAPS)
        with pytest.raises(UnavailableError, match="no answer within 1 s"):
            await anext(client.watch(CONFIG_MAPS, resource_version="0"))
        cable.mend()
        await client.list(CONFIG_MAPS)


async def test_a_cut_connection_is_a_passing_fault(by_cable: Access, cable: Cable) -> None:
    async with KubernetesClient(by_cable) as client:
        version = (await client.list(CONFIG_MAPS)).resource_version
        async with aclosing(client.watch(CONFIG_MAPS, resource_version=version)) as watch:
            waiting = asyncio.ensure_future(anext(watch))
            await client.list(CONFIG_MAPS)
            cable.cut()
            with pytest.raises(UnavailableError):
                await waiting
        with pytest.raises(UnavailableError):
            await client.list(CONFIG_MAPS)
        cable.mend()
        await client.list(CONFIG_MAPS)


async def test_requests_under_way_are_bounded(by_cable: Access, cable: Cable) -> None:
    async with KubernetesClient(by_cable, connections=3) as client:
        await asyncio.gather(*(client.list(CONFIG_MAPS) for _ in range(20)))
        assert cable.connected <= 3


async def test_an_answer_is_bounded(
    kubernetes: KubernetesClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = (await kubernetes.list(CONFIG_MAPS, namespace)).resource_version
    await kubernetes.create(CONFIG_MAPS, config_map("big", a="x" * 5000), namespace)
    monkeypatch.setattr(transport, "BYTES_MAX", 1000)
    monkeypatch.setattr(transport, "LINE_BYTES_MAX", 1000)
    with pytest.raises(UnavailableError, match="longer than 1000 bytes"):
        await kubernetes.get(CONFIG_MAPS, "big", namespace)
    with pytest.raises(UnavailableError, match="longer than 1000 bytes"):
        await anext(kubernetes.watch(CONFIG_MAPS, namespace, resource_version=version))
