"""Operators that serve one namespace each, so that tests do not see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operator.replicas import Field, Replica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dev.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient


@pytest.fixture
async def field(kubernetes: KubernetesClient, namespace: str) -> Field:
    return Field(kubernetes, namespace)


@pytest.fixture
async def replicas(
    request: pytest.FixtureRequest, control_plane: Cluster, namespace: str, tmp_path: Path
) -> AsyncIterator[list[Replica]]:
    """Two replicas, ready, with the flags of the parameter; a third may be appended by the test."""
    flags: tuple[str, ...] = getattr(request, "param", ())
    config = control_plane.kubeconfig
    started = [Replica(config, namespace, tmp_path, arguments=flags).start() for _ in range(2)]
    try:
        for replica in started:
            await replica.ready()
        yield started
    finally:
        for replica in started:
            await replica.end()
