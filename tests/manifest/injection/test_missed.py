"""Which pods should have had a sidecar."""

from __future__ import annotations

from typing import Any

import pytest

from globaltx.manifest.injection import missed

ASKS = {"globaltx.io/inject": "true"}


def pod(annotations: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"annotations": annotations} | more.pop("metadata", {})
    return {"metadata": metadata, "spec": {"containers": [{"name": "a"}]}} | more


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_pod_that_asked_and_has_none(phase: str) -> None:
    assert missed(pod(ASKS, status={"phase": phase}))


def test_typo_counts_as_asking() -> None:
    assert missed(pod({"globaltx.io/inject": "yes"}))


@pytest.mark.parametrize(
    "other",
    [
        pod(),
        pod({}),
        pod({"globaltx.io/inject": "false"}),
        pod(ASKS, status={"phase": "Succeeded"}),
        pod(ASKS, status={"phase": "Failed"}),
        pod(ASKS, metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}),
        pod(ASKS, spec={"initContainers": [{"name": "globaltx-sidecar"}]}),
    ],
)
def test_every_other_pod(other: dict[str, Any]) -> None:
    assert not missed(other)
