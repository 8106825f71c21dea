"""The manifests of the example without code: every pod gets its sidecar, which joins by trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from globaltx.manifest.injection import Injected
from globaltx.manifest.injection.inject import inject_workload
from globaltx.manifest.injection.options import InjectionOptions
from globaltx.manifest.policy import read_policy

SAMPLE = Path(__file__).parents[2] / "examples" / "06-no-code"


def of_kind(kind: str) -> list[dict[str, Any]]:
    names = yaml.safe_load((SAMPLE / "manifests" / "kustomization.yaml").read_text())["resources"]
    texts = ((SAMPLE / "manifests" / name).read_text() for name in names)
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return [each for each in found if each["kind"] == kind]


def test_every_pod_is_injected_and_joins_by_trace() -> None:
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    found = {}
    for deployment in of_kind("Deployment"):
        injected = inject_workload(
            deployment, policies, InjectionOptions(image="sidecar"), namespace="traced"
        )
        assert isinstance(injected, Injected), injected
        settings = injected.settings
        assert settings.http is not None
        found[settings.app] = (
            settings.http.joins_by_trace,
            [route.name for route in settings.http.routes],
            [each.datasource.name for each in settings.datasources],
        )
    assert found == {"orders": (True, ["order"], ["order"]), "stock": (True, [], ["product"])}


def test_every_secret_that_a_pod_or_a_policy_names_is_there() -> None:
    secrets = {each["metadata"]["name"] for each in of_kind("Secret")}
    named = {
        each.secret for policy in of_kind("TransactionPolicy") for each in read_policy(policy).datasources
    }
    for deployment in of_kind("Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        named |= {
            each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"] if "valueFrom" in each
        }
    assert named == secrets
