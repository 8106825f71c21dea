"""The operator with no more rights than the chart gives it, for all namespaces and for a few."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdUnavailableError
from globaltx.stores.etcd.store import EtcdStore
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.errors import ForbiddenError
from globaltx.stores.kubernetes.resource import SECRETS
from globaltx.transaction.states import Outcome, State
from globaltx_operator.bundled import BundledEtcd, BundledOptions
from globaltx_operator.bundled.options import SECRET
from tests.operator.replicas import Replica
from tests.operator.test_policies import DATASOURCE, ROUTE, Policies
from tests.operator.test_projection import Kept

if TYPE_CHECKING:
    from dev.cluster import Cluster
    from dev.etcd import Etcd
    from tests.operator.replicas import Field

pytestmark = pytest.mark.control_plane

CHART = Path(__file__).parents[2] / "charts" / "globaltx"
RIGHTS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def rights(cluster: Cluster, namespace: str, *values: str) -> str:
    """What the chart installs that gives rights."""
    sets = [part for value in values for part in ("--set", value)]
    text = cluster.helm("template", f"globaltx-{namespace}", str(CHART), "--namespace", namespace, *sets)
    chosen = [each for each in yaml.safe_load_all(text) if each and each["kind"] in RIGHTS]
    return yaml.safe_dump_all(chosen)


def kubeconfig(cluster: Cluster, token: str) -> str:
    """The cluster's own kubeconfig, for somebody else."""
    found: dict[str, Any] = yaml.safe_load(cluster.kubeconfig.read_text())
    for user in found["users"]:
        user["user"] = {"token": token}
    return yaml.safe_dump(found)


@pytest.mark.parametrize("few", [False, True], ids=["all namespaces", "a few namespaces"])
async def test_the_chart_gives_the_rights_that_are_needed(
    control_plane: Cluster,
    field: Field,
    tmp_path: Path,
    few: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    namespace = field.namespace
    values = [f"watchNamespaces={{{namespace}}}", "rbac.checkSecrets=true"] if few else []
    manifests = await asyncio.to_thread(rights, control_plane, namespace, *values)
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", namespace, "-f", "-", stdin=manifests)
    account = f"globaltx-{namespace}-operator"
    token = await asyncio.to_thread(control_plane.kubectl, "-n", namespace, "create", "token", account)
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig(control_plane, token.strip()))
    replica = Replica(config, namespace, tmp_path, lease=account, namespaces=namespace if few else "").start()
    try:
        await replica.ready()
        secret: dict[str, Any] = {
            "metadata": {"name": "database"},
            "stringData": {"username": "u", "password": "p"},
        }
        await field.client.create(SECRETS, secret, namespace)
        policies = Policies(field)
        await policies.create("order", http={"port": "http", "routes": [ROUTE]}, datasources=[DATASOURCE])
        await policies.says("order", "True", "Ready")
        xid = await field.begin_with_branches("order", ttl=1)
        async with field.sidecar("order"):
            await field.commit(xid)
            await field.gone(xid)
        deadline = await field.begin(deadline=1)
        await field.reaches(deadline, State.ROLLED_BACK)
        assert await field.events(deadline)
    finally:
        await replica.end()
    assert " cannot " not in replica.log  # as in: User "..." cannot patch resource "..."


async def test_they_are_enough_to_show_what_an_etcd_keeps(
    control_plane: Cluster, field: Field, etcd: Etcd, prefix: str, tmp_path: Path
) -> None:
    namespace, endpoints = field.namespace, ",".join(etcd.endpoints)
    values = [f"watchNamespaces={{{namespace}}}", "store.type=etcd", f"store.etcd.endpoints={{{endpoints}}}"]
    manifests = await asyncio.to_thread(rights, control_plane, namespace, *values)
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", namespace, "-f", "-", stdin=manifests)
    account = f"globaltx-{namespace}-operator"
    token = await asyncio.to_thread(control_plane.kubectl, "-n", namespace, "create", "token", account)
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig(control_plane, token.strip()))
    flags = ("--etcd-endpoints", endpoints, "--etcd-prefix", prefix)
    replica = Replica(config, namespace, tmp_path, lease=account, arguments=flags).start()
    try:
        await replica.ready()
        async with EtcdClient(EtcdAccess(etcd.endpoints)) as client:
            kept = Kept(field, EtcdStore(client, namespace, prefix=prefix), replica)
            xid = await kept.begin("order")
            await kept.shown(xid, branches=1)
            await kept.end(xid, Outcome.ROLLBACK)
            await field.reaches(xid, State.ROLLING_BACK)
            await kept.end(xid, Outcome.ROLLBACK, "order")
            await field.gone(xid)
            await kept.store.close()
    finally:
        await replica.end()
    assert " cannot " not in replica.log


@pytest.mark.parametrize("few", [False, True], ids=["all namespaces", "a few namespaces"])
async def test_they_are_enough_for_an_etcd_of_the_chart_and_reach_no_other_secret(
    control_plane: Cluster,
    field: Field,
    tmp_path: Path,
    few: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    namespace = field.namespace
    values = ["store.type=etcd", "store.etcd.bundled.enabled=true"]
    values += [f"watchNamespaces={{{namespace}}}"] if few else []
    manifests = await asyncio.to_thread(rights, control_plane, namespace, *values)
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", namespace, "-f", "-", stdin=manifests)
    account = f"globaltx-{namespace}-operator"
    token = await asyncio.to_thread(control_plane.kubectl, "-n", namespace, "create", "token", account)
    config = tmp_path / "kubeconfig"
    config.write_text(kubeconfig(control_plane, token.strip()))
    name, served = f"globaltx-{namespace}-etcd", (namespace,) if few else ()
    options = BundledOptions(name, 1, namespace, tmp_path / "own", "/globaltx/", served)
    async with (
        KubernetesClient(from_kubeconfig(str(config))) as client,
        BundledEtcd(client, options, ("https://127.0.0.1:1",)) as bundled,
    ):
        with pytest.raises(EtcdUnavailableError):  # after all its own Secrets
            await bundled.round()
        await bundled.admit(namespace)
        where = namespace if few else None
        listing = await client.list(SECRETS, where, fields=f"metadata.name={SECRET}")
        assert namespace in {each["metadata"]["namespace"] for each in listing.items}
        await field.client.create(SECRETS, {"metadata": {"name": "database"}}, namespace)
        with pytest.raises(ForbiddenError):
            await client.list(SECRETS, where)
        with pytest.raises(ForbiddenError):
            await client.get(SECRETS, "database", namespace)
