"""The chart as helm renders it. ``GLOBALTX_REWRITE=1`` writes the goldens anew, to be reviewed as a diff."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dev.errors import ToolError
from globaltx import __version__
from tests.charts.conftest import CHART, CRDS, GOLDENS, rendered, template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUNDLED = ("store.type=etcd", "store.etcd.bundled.enabled=true")
CASES = {
    "default": (),
    "namespaced": ("watchNamespaces={shop,bank}", "rbac.checkSecrets=true"),
    "etcd": (
        "store.type=etcd",
        "store.etcd.endpoints={https://etcd-0.etcd:2379,https://etcd-1.etcd:2379}",
        "store.etcd.tlsSecretName=etcd-tls",
        "store.etcd.credentialsSecretName=etcd-user",
        "store.etcd.prefix=/shop/",
        "store.etcd.compactSeconds=0",
    ),
    "etcd-bundled": BUNDLED,
    "etcd-bundled-3": (
        *BUNDLED,
        "store.etcd.bundled.replicas=3",
        "store.etcd.bundled.image=registry.example/etcd@sha256:1234",
        "store.etcd.bundled.size=20Gi",
        "store.etcd.bundled.storageClass=fast",
        "store.etcd.bundled.quotaMebibytes=8192",
        "store.etcd.bundled.nodeSelector.disk=ssd",
        "store.etcd.bundled.priorityClassName=system-cluster-critical",
        "image.pullSecrets={registry}",
        "watchNamespaces={shop,bank}",
    ),
    "etcd-bundled-trial": (*BUNDLED, "store.etcd.bundled.ephemeral=true", "networkPolicy.enabled=false"),
    "chosen": (
        "image.operator=registry.example/globaltx/operator:2",
        "image.sidecar=registry.example/globaltx/sidecar:2",
        "image.pullSecrets={registry}",
        "operator.replicas=1",
        "operator.priorityClassName=system-cluster-critical",
        "operator.nodeSelector.disk=ssd",
        "sidecar.resources.limits.cpu=1",
        "podDisruptionBudget.enabled=false",
        "networkPolicy.enabled=false",
        "webhook.timeoutSeconds=5",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_manifests_are_exactly_those_on_file(case: str, helm: Callable[..., str]) -> None:
    text, golden = template(helm, *CASES[case]), GOLDENS / f"{case}.yaml"
    if os.environ.get("GLOBALTX_REWRITE"):
        golden.write_text(text, encoding="utf-8")
    else:
        assert text == golden.read_text(encoding="utf-8")


def test_helm_finds_nothing_to_complain_about(helm: Callable[..., str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


def test_crds_are_those_that_are_generated() -> None:
    ours = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "crds").iterdir()}
    assert ours == {path.name: path.read_text(encoding="utf-8") for path in CRDS.iterdir()}
    assert not any(path.is_symlink() for path in (CHART / "crds").iterdir())


def test_version_is_the_one_of_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__


def values(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the schema."""
    if schema.get("type") == "object":
        yield where, schema
    for name, each in schema.get("properties", {}).items():
        yield from values(each, f"{where}.{name}")


def test_schema_refuses_what_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    open_ones = [where for where, each in values(schema) if each.get("additionalProperties") is not False]
    assert open_ones == [".global"], "helm itself adds what is in there"


def test_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    given = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert given.keys() == schema["properties"].keys() - {"global"}
    for name, part in given.items():
        if isinstance(part, dict):
            assert part.keys() == schema["properties"][name]["properties"].keys()


@pytest.mark.parametrize(
    "value",
    [
        "imgae.operator=x",
        "operator.replica=1",
        "operator.replicas=many",
        "operator.logLevel=loud",
        "image.pullPolicy=Sometimes",
        "watchNamespaces={Shop}",
        "webhook.timeoutSeconds=60",
        "store.type=file",
        "store.type=etcd",
        "store.etcd.endpoints={etcd:2379}",
        "sidecar.resources.limits.memory=lots",
        "store.etcd.bundled.enabled=true",
    ],
)
def test_wrong_value_is_refused_by_name(value: str, helm: Callable[..., str]) -> None:
    with pytest.raises(ToolError, match=value.partition(".")[0].partition("=")[0]):
        template(helm, value)


@pytest.mark.parametrize("value", ["sidecar.resources", "sidecar.resources.limits", "operator.resources"])
def test_resources_may_be_taken_away(value: str, helm: Callable[..., str]) -> None:
    assert rendered(helm, f"{value}=null")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("store.etcd.bundled.replicas=0", "replicas.*one of 1, 3"),
        ("store.etcd.bundled.replicas=2", "replicas.*one of 1, 3"),
        ("store.etcd.bundled.replicas=5", "replicas.*one of 1, 3"),
        ("store.etcd.bundled.size=large", "size"),
        ("store.etcd.bundled.quotaMebibytes=10", "quotaMebibytes"),
        ("store.etcd.bundled.persistence=1", "persistence"),
        ("store.etcd.endpoints={https://etcd:2379}", "endpoints"),
        ("store.etcd.tlsSecretName=mine", "tlsSecretName"),
        ("store.etcd.credentialsSecretName=mine", "credentialsSecretName"),
    ],
)
def test_own_etcd_refuses_what_does_not_go_with_it(value: str, said: str, helm: Callable[..., str]) -> None:
    with pytest.raises(ToolError, match=said):
        template(helm, *BUNDLED, value)


@pytest.mark.parametrize("case", ["etcd-bundled", "etcd-bundled-3"])
def test_own_etcd_has_no_secret_in_the_manifests(case: str, helm: Callable[..., str]) -> None:
    assert not [each for each in rendered(helm, *CASES[case]) if each["kind"] == "Secret"]


def test_own_etcd_of_an_upgrade_cannot_change_its_members(helm: Callable[..., str]) -> None:
    """Whoever applies it: the selector of a StatefulSet cannot be changed."""
    selectors = [
        each["spec"]["selector"]["matchLabels"]
        for case in ("etcd-bundled", "etcd-bundled-3")
        for each in rendered(helm, *CASES[case])
        if each["kind"] == "StatefulSet"
    ]
    assert len(selectors) == 2
    assert selectors[0] != selectors[1]


def test_with_named_namespaces_the_operator_has_no_rights_elsewhere(helm: Callable[..., str]) -> None:
    objects = rendered(helm, *CASES["namespaced"])
    [cluster_wide] = [
        each
        for each in objects
        if each["kind"] == "ClusterRole"
        and each["metadata"]["name"] not in {"globaltx-sidecar", "globaltx-resolve"}
    ]
    assert [rule["resources"] for rule in cluster_wide["rules"]] == [
        ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
    ]
    namespaces = {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"}
    assert namespaces == {"globaltx-system", "shop", "bank"}


@pytest.mark.parametrize("case", CASES)
def test_no_rule_has_a_wildcard(case: str, helm: Callable[..., str]) -> None:
    for each in rendered(helm, *CASES[case]):
        assert "*" not in json.dumps(each.get("rules", [])), each["metadata"]["name"]


def test_uninstallation_takes_the_webhooks_along(helm: Callable[..., str]) -> None:
    webhooks = [
        each
        for each in rendered(helm)
        if each["kind"].endswith(("WebhookConfiguration", "ValidatingAdmissionPolicyBinding"))
    ]
    assert len(webhooks) == 3
    for each in webhooks:
        assert not each["metadata"].get("annotations"), "a hook or a keep policy would leave it behind"
