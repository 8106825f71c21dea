"""A declared saga where transactions are kept in an etcd: it is a resource all the same."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from globaltx.manifest.settings import EtcdSettings
from tests.sidecar.saga.stage import Sagas

if TYPE_CHECKING:
    from pathlib import Path

    from dev.cluster import Cluster
    from dev.etcd import Etcd

pytestmark = [pytest.mark.control_plane, pytest.mark.etcd, pytest.mark.timeout(300)]


def test_it_is_conducted_on_its_resources(
    control_plane: Cluster, etcd: Etcd, prefix: str, tmp_path: Path
) -> None:
    namespace = f"sagas-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    made = Sagas(control_plane, namespace, tmp_path, EtcdSettings(etcd.endpoints, prefix))
    made.apply(made.policy())
    with made as sagas:
        free = sagas.free()
        assert sagas.wait(sagas.apply(sagas.trip()))["status"]["state"] == "Committed"
        assert sagas.free() != free
        free = sagas.free()
        unpayable = sagas.step("payment", 10**6, dependsOn=["flight"])
        found = sagas.wait(sagas.apply(sagas.trip(sagas.step("flight"), unpayable)), "False")
        assert found["status"]["state"] == "RolledBack"
        assert sagas.free() == free
