"""A way to the API server that fails on command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.kubernetes.access import Access, from_kubeconfig
from tests.stores.cable import Cable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dev.cluster import Cluster


@pytest.fixture
def access(control_plane: Cluster) -> Access:
    return from_kubeconfig(str(control_plane.kubeconfig))


@pytest.fixture
async def cable(access: Access) -> AsyncIterator[Cable]:
    async with Cable(int(access.server.rpartition(":")[2])) as cable:
        yield cable


@pytest.fixture
def by_cable(access: Access, cable: Cable) -> Access:
    return replace(access, server=f"https://127.0.0.1:{cable.port}")
