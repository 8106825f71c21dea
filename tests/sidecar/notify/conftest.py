from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from globaltx.manifest.settings import EtcdSettings
from tests.sidecar.notify.stage import Notified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster
    from dev.etcd import Etcd


@pytest.fixture(scope="module", params=["kubernetes", pytest.param("etcd", marks=pytest.mark.etcd)])
def stage(
    request: pytest.FixtureRequest, control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Notified]:
    """Everything, running, in each store; what a test kills it starts again."""
    namespace = f"notify-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    store = None
    if request.param == "etcd":
        server: Etcd = request.getfixturevalue("etcd")
        store = EtcdSettings(server.endpoints, f"/t-{secrets.token_hex(6)}/")
    with Notified(control_plane, namespace, tmp_path_factory.mktemp("notify"), store) as running:
        running.apply(running.policy())
        yield running


@pytest.fixture
def notified(stage: Notified) -> Notified:
    """The same, with nothing in the way."""
    stage.clear()
    return stage
