"""The stores that the contract is run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.kubernetes.access import from_kubeconfig
from tests.stores.harness import EtcdHarness, Harness, KubernetesHarness, MemoryHarness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dev.cluster import Cluster
    from dev.etcd import Etcd


@pytest.fixture
async def memory() -> MemoryHarness:
    return MemoryHarness()


@pytest.fixture
async def in_kubernetes(control_plane: Cluster, namespace: str) -> AsyncIterator[KubernetesHarness]:
    harness = KubernetesHarness(from_kubeconfig(str(control_plane.kubeconfig)), namespace)
    yield harness
    await harness.close()


@pytest.fixture
async def in_etcd(etcd: Etcd, prefix: str) -> AsyncIterator[EtcdHarness]:
    harness = EtcdHarness(EtcdAccess(etcd.endpoints, etcd.credentials), prefix)
    yield harness
    await harness.close()


@pytest.fixture(
    params=[
        "memory",
        pytest.param("in_kubernetes", marks=pytest.mark.control_plane, id="kubernetes"),
        pytest.param("in_etcd", marks=pytest.mark.etcd, id="etcd"),
    ]
)
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each store in turn."""
    found: Harness = request.getfixturevalue(request.param)
    return found
