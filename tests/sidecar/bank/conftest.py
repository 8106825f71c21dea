from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.stage import Banks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster


@pytest.fixture(scope="module")
def banks(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    """The sample, running; what a test kills it starts again."""
    namespace = f"banks-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    with Banks(control_plane, namespace, tmp_path_factory.mktemp("banks")) as running:
        yield running
