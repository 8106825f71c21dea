"""The manifests of the sale: every pod gets its sidecar, and bank and carrier are the other examples' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from globaltx.manifest.injection import Injected
from globaltx.manifest.injection.inject import inject_workload
from globaltx.manifest.injection.options import InjectionOptions
from globaltx.manifest.policy import read_policy

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLE = EXAMPLES / "05-mixed"


def of_kind(kind: str, sample: Path = SAMPLE) -> list[dict[str, Any]]:
    names = yaml.safe_load((sample / "manifests" / "kustomization.yaml").read_text())["resources"]
    texts = ((sample / "manifests" / name).read_text() for name in names)
    found = [document for text in texts for document in yaml.safe_load_all(text)]
    return [each for each in found if each["kind"] == kind]


def test_every_pod_is_injected_with_what_makes_its_branch() -> None:
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    found = {}
    for deployment in of_kind("Deployment"):
        injected = inject_workload(deployment, policies, InjectionOptions(image="sidecar"), namespace="sales")
        assert isinstance(injected, Injected), injected
        settings = injected.settings
        assert settings.http is not None
        tries = [route.tries.mode for route in settings.http.routes if route.tries]
        found[settings.app] = [*tries, *(each.datasource.name for each in settings.datasources)]
    assert found == {"shop": ["order"], "bank": ["TCC"], "carrier": ["Saga"]}


def test_bank_and_carrier_are_those_of_the_other_examples() -> None:
    images = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["containers"][0]
        for each in of_kind("Deployment")
    }
    for name, sample in (("bank", "02-tcc-transfer"), ("carrier", "03-saga-trip")):
        others = [
            each["spec"]["template"]["spec"]["containers"][0]
            for each in of_kind("Deployment", EXAMPLES / sample)
        ]
        wanted = [images[name][field] for field in ("image", "args")]
        assert wanted in [[each[field] for field in ("image", "args")] for each in others]
        assert (EXAMPLES / sample / "services" / images[name]["args"][0]).exists()
