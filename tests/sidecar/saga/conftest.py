from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.saga.stage import Sagas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster


@pytest.fixture(scope="module")
def stage(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sagas]:
    """Everything, running; what a test kills it starts again."""
    namespace = f"sagas-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    made = Sagas(control_plane, namespace, tmp_path_factory.mktemp("sagas"))
    made.apply(made.policy())
    with made as running:
        yield running


@pytest.fixture
def sagas(stage: Sagas) -> Sagas:
    """The same, with nothing in the way."""
    stage.clear()
    return stage
