"""The chart on a real API server of its own: installed, upgraded, gone."""

from __future__ import annotations

import base64
import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dev.errors import ToolError
from globaltx.manifest.policy import read_policy
from globaltx_operator.webhook.minting import make_authority
from tests.charts.conftest import CHART, CRDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster

pytestmark = pytest.mark.control_plane

RELEASE = ("globaltx", str(CHART), "--namespace", "globaltx-system", "--create-namespace")
LIFE = timedelta(days=1)
AUTHORITY, _ = make_authority((datetime.now(UTC) - LIFE, datetime.now(UTC) + LIFE))
CERTIFICATE = base64.b64encode(AUTHORITY.encode()).decode()
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "asks", "namespace": "default", "annotations": {"globaltx.io/inject": "true"}},
    "spec": {"containers": [{"name": "a", "image": "b"}]},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane where nothing of ours is."""
    from dev.cluster import Cluster  # noqa: PLC0415  only where such tests are run

    with Cluster.up(f"chart-{os.getpid()}-{secrets.token_hex(3)}", "control-plane") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def said(cluster: Cluster) -> str:
    """What the installation said."""
    return cluster.helm("install", *RELEASE)


def objects(cluster: Cluster, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", kind, "-A", "-o", "json"))["items"]
    return found


@pytest.mark.usefixtures("said")
def test_api_server_takes_everything(cluster: Cluster) -> None:
    served = cluster.kubectl("api-resources", "--api-group=globaltx.io", "-o", "name").split()
    assert {each.partition(".")[0] for each in served} == {
        "globaltransactions",
        "branches",
        "transactionpolicies",
    }
    [deployment] = objects(cluster, "deployments")
    assert deployment["spec"]["replicas"] == 2


@pytest.mark.usefixtures("said")
def test_operator_holds_to_pod_security_restricted(cluster: Cluster) -> None:
    [deployment] = objects(cluster, "deployments")
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "operator", "namespace": "strict", "labels": template["metadata"]["labels"]},
        "spec": template["spec"] | {"serviceAccountName": "default"},
    }
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": label}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": "strict"}}
    pod["spec"]["serviceAccountName"] = "x"
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([namespace, account]))
    cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


def test_notes_are_commands_to_paste(said: str, cluster: Cluster) -> None:
    assert "kubectl -n globaltx-system rollout status deployment/globaltx-operator" in said
    policy = said.partition("<<EOF\n")[2].partition("EOF")[0]
    assert read_policy(yaml.safe_load(policy)).name == "orders"
    cluster.kubectl("create", "namespace", "shop")
    cluster.kubectl("apply", "-f", "-", stdin=policy)


@pytest.mark.usefixtures("said")
def test_upgrade_keeps_the_trust_that_the_operator_filled_in(cluster: Cluster) -> None:
    trust = [{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": CERTIFICATE}]
    cluster.kubectl(
        "patch", "mutatingwebhookconfiguration", "globaltx", "--type=json", "-p", json.dumps(trust)
    )
    cluster.helm("upgrade", *RELEASE, "--set=webhook.timeoutSeconds=7")
    [configuration] = objects(cluster, "mutatingwebhookconfigurations")
    assert configuration["webhooks"][0]["timeoutSeconds"] == 7
    assert configuration["webhooks"][0]["clientConfig"]["caBundle"] == CERTIFICATE


@pytest.mark.usefixtures("said")
def test_definitions_of_another_version_are_brought_as_the_docs_say(cluster: Cluster) -> None:
    """An upgrade by helm leaves them as they are."""
    command = "kubectl apply --server-side --force-conflicts -f "
    assert command in (CHART.parents[1] / "docs" / "getting-started.md").read_text(encoding="utf-8")
    definition = yaml.safe_load((CRDS / "branches.yaml").read_text(encoding="utf-8"))
    definition["spec"]["versions"][0]["additionalPrinterColumns"].pop()
    cluster.kubectl(*command.split()[1:], "-", stdin=yaml.safe_dump(definition))
    cluster.helm("upgrade", *RELEASE)
    cluster.kubectl(*command.split()[1:], str(CRDS))


OWN_ETCD = ("--set=store.type=etcd", "--set=store.etcd.bundled.enabled=true")


@pytest.mark.usefixtures("said")
def test_own_etcd_is_taken_holds_to_restricted_and_keeps_its_members(cluster: Cluster) -> None:
    said = cluster.helm("upgrade", *RELEASE, *OWN_ETCD)
    assert "kubectl -n globaltx-system rollout status statefulset/globaltx-etcd" in said
    assert "An uninstallation leaves the data of the etcd too" in said
    cluster.helm("upgrade", *RELEASE, *OWN_ETCD, "--set=store.etcd.bundled.quotaMebibytes=1024")
    with pytest.raises(ToolError, match=r"globaltx-etcd has 1 members.*cannot make it 3"):
        cluster.helm("upgrade", *RELEASE, *OWN_ETCD, "--set=store.etcd.bundled.replicas=3")
    [etcd] = objects(cluster, "statefulsets")
    template = etcd["spec"]["template"]
    claim = {"name": "data", "emptyDir": {}}
    spec = template["spec"] | {"volumes": [*template["spec"]["volumes"], claim]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "etcd", "namespace": "strict"},
        "spec": spec | {"serviceAccountName": "x"},
    }
    cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))


@pytest.mark.usefixtures("said")
def test_the_operator_may_write_its_own_secrets_and_no_others(cluster: Cluster) -> None:
    def create(namespace: str, name: str, **more: Any) -> None:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
        body["metadata"] |= more.pop("metadata", {})
        account = "system:serviceaccount:globaltx-system:globaltx-operator"
        words = ("create", f"--as={account}", "--dry-run=server", "-f", "-")
        cluster.kubectl(*words, stdin=yaml.safe_dump(body | more))

    create("default", "globaltx-etcd")
    create("globaltx-system", "globaltx-etcd-root")
    token: dict[str, Any] = {
        "metadata": {"annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    for namespace, name, more in (
        ("default", "globaltx-etcd", token),
        ("default", "other", {}),
        ("globaltx-system", "globaltx-etcd", {}),
    ):
        with pytest.raises(ToolError, match="and no others"):
            create(namespace, name, **more)


ODD = (
    "watchNamespaces={456,true}",
    "image.pullSecrets={7}",
    "operator.priorityClassName=8",
    "store.etcd.bundled.priorityClassName=8",
    "store.etcd.bundled.storageClass=9",
)
"""Names that Kubernetes allows and YAML takes for something else."""


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("release", ["1.2", "3", "null", "a" * 53])
def test_names_may_be_whatever_kubernetes_and_helm_allow(cluster: Cluster, release: str) -> None:
    names = yaml.safe_dump_all(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}}
        for each in ("123", "456", "true")
    )
    cluster.kubectl("apply", "-f", "-", stdin=names)
    values = [f"--set-string={each}" for each in ODD]
    text = cluster.helm("template", release, str(CHART), "--namespace", "123", *OWN_ETCD, *values)
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=text)


@pytest.mark.usefixtures("said")
def test_without_operator_only_pods_that_asked_are_blocked_and_after_uninstalling_none(
    cluster: Cluster,
) -> None:
    asks = yaml.safe_dump(POD)
    with pytest.raises(ToolError, match="failed calling webhook"):
        cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=asks)
    cluster.helm("uninstall", "globaltx", "--namespace", "globaltx-system")
    assert not objects(cluster, "mutatingwebhookconfigurations")
    assert not objects(cluster, "validatingwebhookconfigurations")
    cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=asks)
    assert len(objects(cluster, "transactionpolicies")) == 1, "what people made stays"
