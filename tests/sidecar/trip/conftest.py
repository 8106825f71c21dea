from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.trip.stage import Trips

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster


@pytest.fixture(scope="module")
def trips(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trips]:
    """The sample, running; what a test kills it starts again."""
    namespace = f"trips-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    with Trips(control_plane, namespace, tmp_path_factory.mktemp("trips")) as running:
        yield running
