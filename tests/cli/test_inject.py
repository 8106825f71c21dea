"""``globaltx inject`` without any cluster; that it equals the webhook is by construction: one function."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from globaltx.manifest.injection import InjectionOptions, apply, inject_workload
from globaltx.manifest.injection.result import Injected
from globaltx.manifest.policy import read_policy
from globaltx.manifest.settings import ETCD_FOLDER, EtcdSettings, SidecarSettings
from globaltx_cli.main import main

MANIFESTS = Path(__file__).resolve().parents[2] / "examples" / "01-order" / "manifests"
IMAGE = "example.org/sidecar:1"


def _order() -> list[str]:
    return ["inject", "--sidecar-image", IMAGE, "-f", str(MANIFESTS / "order.yaml")]


def _deployment(text: str) -> dict[str, object]:
    found = [each for each in yaml.safe_load_all(text) if each["kind"] == "Deployment"]
    assert len(found) == 1
    deployment: dict[str, object] = found[0]
    return deployment


def test_a_deployment_comes_out_as_the_webhook_makes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_order(), "--policies", str(MANIFESTS / "policy.yaml")]) == 0
    raw = _deployment((MANIFESTS / "order.yaml").read_text())
    policies = [read_policy(each) for each in yaml.safe_load_all((MANIFESTS / "policy.yaml").read_text())]
    expected = inject_workload(raw, policies, InjectionOptions(image=IMAGE), namespace="shop")
    assert isinstance(expected, Injected)
    assert _deployment(capsys.readouterr().out) == apply(raw, expected.patch)


def test_the_store_is_etcd_where_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    etcd = ["--etcd-endpoints", "https://e:2379", "--etcd-prefix", "/p/", "--etcd-secret", "user"]
    assert main([*_order(), "--policies", str(MANIFESTS / "policy.yaml"), *etcd]) == 0
    pod: Any = _deployment(capsys.readouterr().out)["spec"]
    sidecar = pod["template"]["spec"]["initContainers"][0]
    told = SidecarSettings.from_json(next(each["value"] for each in sidecar["env"] if "value" in each))
    assert told.etcd == EtcdSettings(("https://e:2379",), "/p/", ("user",))
    volume = {"name": "globaltx-etcd", "projected": {"sources": [{"secret": {"name": "user"}}]}}
    assert volume in pod["template"]["spec"]["volumes"]
    assert {"name": "globaltx-etcd", "mountPath": ETCD_FOLDER, "readOnly": True} in sidecar["volumeMounts"]


def test_policies_among_the_manifests_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = tmp_path / "both.yaml"
    policy, order = MANIFESTS / "policy.yaml", MANIFESTS / "order.yaml"
    both.write_text(f"{policy.read_text()}---\n{order.read_text()}")
    assert main(["inject", "--sidecar-image", IMAGE, "-f", str(both)]) == 0
    out = capsys.readouterr().out
    assert "globaltx-sidecar" in out
    assert out.count("kind: TransactionPolicy") == 3


def test_a_policy_of_another_namespace_does_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "policy.yaml"
    other.write_text((MANIFESTS / "policy.yaml").read_text().replace("namespace: shop", "namespace: other"))
    main([*_order(), "--policies", str(other)])
    assert "globaltx-sidecar" not in capsys.readouterr().out


def test_a_refused_pod_is_named_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unnamed = tmp_path / "aggregation.yaml"
    unnamed.write_text((MANIFESTS / "aggregation.yaml").read_text().replace("name: http\n", "name: web\n"))
    policies = str(MANIFESTS / "policy.yaml")
    assert main(["inject", "-f", str(unnamed), "-p", policies]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Deployment aggregation-svc: globaltx: ")
    assert "http" in err


def test_an_invalid_policy_is_told_with_its_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "policy.yaml"
    wrong.write_text((MANIFESTS / "policy.yaml").read_text().replace("secretName", "secret"))
    assert main([*_order(), "-p", str(wrong)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "did you mean secretName?" in err


def test_other_manifests_pass_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "service.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  type: ExternalName\n")
    assert main(["inject", "-f", str(file)]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(file.read_text())
