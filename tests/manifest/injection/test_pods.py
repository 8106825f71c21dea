"""Pods in, patched pods out: one scenario a file in ``pods/``.

Above ``----`` are policies and a pod (or workload) as YAML, below it the exact reaction: the patched
pod, or why nothing is changed. ``GLOBALTX_REWRITE=1`` writes the reactions anew, to be reviewed as a
diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from globaltx.manifest.injection import (
    Injected,
    Injection,
    InjectionOptions,
    Refused,
    apply,
    inject,
    inject_workload,
)
from globaltx.manifest.policy import read_policy
from globaltx.manifest.settings import SETTINGS_VARIABLE, SidecarSettings

SCENARIOS = sorted((Path(__file__).parent / "pods").glob("*.txt"))
OPTIONS = InjectionOptions(image="example/globaltx-sidecar:1", image_pull_secrets=("registry",))
NAMESPACE = "shop"


def parts(scenario: Path) -> tuple[str, str]:
    given, _, reaction = scenario.read_text(encoding="utf-8").partition("----\n")
    return given, reaction


def react(given: str) -> tuple[dict[str, Any], Injection]:
    *policies, manifest = yaml.safe_load_all(given)
    read = [read_policy(each) for each in policies]
    return manifest, inject_workload(manifest, read, OPTIONS, namespace=NAMESPACE)


def told(manifest: dict[str, Any], injection: Injection) -> str:
    if isinstance(injection, Refused):
        return f"Refused: {injection.reason}\n{injection.message}\n"
    if not isinstance(injection, Injected):
        return f"Unchanged: {injection.why}\n"
    return written(apply(manifest, injection.patch))


def written(manifest: dict[str, Any]) -> str:
    return yaml.safe_dump(manifest, sort_keys=False, width=110)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_reaction_is_exactly_the_one_on_file(scenario: Path) -> None:
    given, expected = parts(scenario)
    reaction = told(*react(given))
    if os.environ.get("GLOBALTX_REWRITE"):
        scenario.write_text(f"{given}----\n{reaction}", encoding="utf-8")
    else:
        assert reaction == expected


INJECTED = [each for each in SCENARIOS if isinstance(react(parts(each)[0])[1], Injected)]


@pytest.mark.parametrize("scenario", INJECTED, ids=lambda path: path.stem)
def test_sidecar_reads_the_settings_that_were_meant(scenario: Path) -> None:
    manifest, injection = react(parts(scenario)[0])
    assert isinstance(injection, Injected)
    [variable] = find(apply(manifest, injection.patch), SETTINGS_VARIABLE)
    assert "$" not in variable["value"]
    assert SidecarSettings.from_json(variable["value"]) == injection.settings


@pytest.mark.parametrize("scenario", INJECTED, ids=lambda path: path.stem)
def test_injecting_again_changes_nothing(scenario: Path) -> None:
    *policies, manifest = yaml.safe_load_all(parts(scenario)[0])
    _, injection = react(parts(scenario)[0])
    assert isinstance(injection, Injected)
    again = inject_workload(
        apply(manifest, injection.patch),
        [read_policy(each) for each in policies],
        OPTIONS,
        namespace=NAMESPACE,
    )
    assert not isinstance(again, Injected | Refused)


def test_the_pod_that_was_given_is_left_alone() -> None:
    pod, injection = react(parts(Path(__file__).parent / "pods" / "probes.txt")[0])
    before = written(pod)
    assert isinstance(injection, Injected)
    apply(pod, injection.patch)
    inject(pod, [], OPTIONS, namespace=NAMESPACE)
    assert written(pod) == before


def find(document: Any, name: str) -> list[dict[str, Any]]:
    """All environment variables of that name, wherever they stand."""
    if isinstance(document, list):
        return [found for each in document for found in find(each, name)]
    if not isinstance(document, dict):
        return []
    own = [document] if document.get("name") == name and "value" in document else []
    return own + [found for each in document.values() for found in find(each, name)]
