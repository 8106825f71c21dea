"""What tests of several folders share: a real control plane, a real database, and a place of one's own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.errors import ToolError
from dev.waiting import wait_for
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.resource import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dev.cluster import Cluster
    from dev.databases import MariaDB

GLOBALTX_PASSWORD = "for-tests-only"
"""Of the account ``globaltx``, which plays the sidecar's own in the fixture ``mariadb``."""
_ROOT = Path(__file__).parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a control plane or a database, so that nobody can forget to."""
    for item in items:
        if "mariadb" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.database)
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.control_plane)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """A real etcd, kube-apiserver and controller-manager of this test session, with our kinds installed.

    All tests of the session share it: use the fixture ``namespace``, and start again what you crash.
    """
    from dev.cluster import Cluster  # noqa: PLC0415  only where such tests are run

    with Cluster.up(f"test-{os.getpid()}-{secrets.token_hex(3)}", "control-plane") as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(_ROOT / "crds"))
        wait_for("the custom resources", lambda: _kinds_are_served(cluster), seconds=60)
        yield cluster


def _kinds_are_served(cluster: Cluster) -> bool:
    """Whether they can be listed: right after they are made, and after a restart, that takes a moment."""
    try:
        cluster.kubectl("get", "globaltransactions,branches,transactionpolicies", "--all-namespaces")
    except ToolError:
        return False
    return True


@pytest.fixture
async def kubernetes(control_plane: Cluster) -> AsyncIterator[KubernetesClient]:
    """A client of the control plane with all rights."""
    async with KubernetesClient(from_kubeconfig(str(control_plane.kubeconfig))) as client:
        yield client


@pytest.fixture
async def namespace(kubernetes: KubernetesClient) -> str:
    """A namespace that nobody else uses."""
    name = f"t-{secrets.token_hex(6)}"
    await kubernetes.create(NAMESPACES, {"metadata": {"name": name}})
    return name


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A real MariaDB of this test session; root enters by its socket, without a password.

    All tests of the session share it: use the fixture ``schema``.
    """
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    accounts = f"""
        CREATE USER globaltx@'%' IDENTIFIED BY '{GLOBALTX_PASSWORD}';
        GRANT ALL ON *.* TO globaltx@'%';
    """
    with MariaDB.up(f"test-{os.getpid()}-{secrets.token_hex(3)}", durable=False, sql=accounts) as server:
        yield server


@pytest.fixture
def schema(mariadb: MariaDB) -> Iterator[str]:
    """An empty schema of MariaDB that nobody else uses."""
    name = f"t_{secrets.token_hex(6)}"
    mariadb.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield name
    mariadb.execute(f"DROP DATABASE IF EXISTS {name}")
