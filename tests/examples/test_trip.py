"""The trip's manifests: the policies fit the programs, and every pod would get its sidecar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from globaltx.manifest.injection import Injected
from globaltx.manifest.injection.inject import inject_workload
from globaltx.manifest.injection.options import InjectionOptions
from globaltx.manifest.policy import read_policy
from globaltx_operator.webhook.validate import saga_refusal

SAMPLE = Path(__file__).parents[2] / "examples" / "03-saga-trip"


def documents() -> list[dict[str, Any]]:
    names = yaml.safe_load((SAMPLE / "manifests" / "kustomization.yaml").read_text())["resources"]
    texts = ((SAMPLE / "manifests" / name).read_text() for name in names)
    return [document for text in texts for document in yaml.safe_load_all(text)]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in documents() if each["kind"] == kind]


def test_every_pod_is_injected_with_the_routes_of_its_policy() -> None:
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    found = {}
    for deployment in of_kind("Deployment"):
        injected = inject_workload(deployment, policies, InjectionOptions(image="sidecar"), namespace="trips")
        assert isinstance(injected, Injected), injected
        assert injected.settings.http is not None
        found[injected.settings.app] = [route.name for route in injected.settings.http.routes]
    assert found == {"trip": ["trip"], "flight": ["book"], "hotel": ["book"], "payment": ["book"]}


def test_every_path_of_the_policy_is_one_of_the_provider_s_program() -> None:
    served = re.findall(r'@app\.post\("(.+?)"\)', (SAMPLE / "services" / "provider.py").read_text())
    captures = [read_policy(each).http for each in of_kind("TransactionPolicy")]
    routes = [route for capture in captures if capture for route in capture.routes if route.saga]
    assert [path for route in routes if route.saga for path in (route.path, route.saga.compensate)] == served


@pytest.mark.parametrize("file", sorted((SAMPLE / "declared").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_declared_trip_is_one_that_the_webhook_lets_through(file: Path) -> None:
    (policy,) = (each for each in of_kind("TransactionPolicy") if each["metadata"]["name"] == "trip")
    saga = yaml.safe_load(file.read_text())
    assert saga["spec"]["policy"] == "trip"
    assert saga_refusal(saga, policy) is None
    assert saga_refusal(saga, policy | {"spec": {"http": {"port": "http"}}}) is not None


def test_the_pods_that_conduct_declared_trips_know_where_they_may_call() -> None:
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    conducting = set()
    for deployment in of_kind("Deployment"):
        injected = inject_workload(deployment, policies, InjectionOptions(image="sidecar"), namespace="trips")
        assert isinstance(injected, Injected), injected
        if injected.settings.egress is not None:
            conducting.add(injected.settings.app)
    assert conducting == {"trip"}
