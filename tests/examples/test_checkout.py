"""The checkout's manifests: the policies fit the programs, and every pod would get its sidecar."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from globaltx.manifest.injection import Injected
from globaltx.manifest.injection.inject import inject_workload
from globaltx.manifest.injection.options import InjectionOptions
from globaltx.manifest.policy import read_policy

SAMPLE = Path(__file__).parents[2] / "examples" / "04-tcd-checkout"


def of_kind(kind: str) -> list[dict[str, Any]]:
    names = yaml.safe_load((SAMPLE / "manifests" / "kustomization.yaml").read_text())["resources"]
    texts = ((SAMPLE / "manifests" / name).read_text() for name in names)
    return [each for text in texts for each in yaml.safe_load_all(text) if each["kind"] == kind]


def test_every_participant_keeps_as_long_as_its_policy_promises() -> None:
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    options = InjectionOptions(image="sidecar")
    found: dict[str, list[str]] = {}
    for deployment in of_kind("Deployment"):
        injected = inject_workload(deployment, policies, options, namespace="checkout")
        assert isinstance(injected, Injected), injected
        assert injected.settings.http is not None
        found[injected.settings.app] = [route.name for route in injected.settings.http.routes]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        kept = {each["name"]: each["value"] for each in container.get("env", ())}.get("KEEP_SECONDS")
        for tries in (route.tries for route in injected.settings.http.routes):
            assert tries is None or tries.reservation is not None
            if tries is not None and tries.reservation is not None:
                assert tries.reservation.duration == timedelta(seconds=float(kept or 0))
    assert found == {"checkout": ["checkout"], "account": ["reserve"], "product": ["reserve"]}


def test_every_path_of_the_policies_is_one_of_the_participant_s_program() -> None:
    program = (SAMPLE / "services" / "participant.py").read_text()
    served = set(re.findall(r'@app\.(?:post|get)\("(.+?)"\)', program))
    policies = [read_policy(each) for each in of_kind("TransactionPolicy")]
    routes = [route for policy in policies if policy.http for route in policy.http.routes if route.tcd]
    paths = {
        path
        for route in routes
        if route.tcd
        for path in (route.path, route.tcd.confirm, route.tcd.reservation.state)
    }
    assert len(routes) == 2
    assert paths <= served
