"""What tests of several folders share: a real control plane, a real database, and a place of one's own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from dev.errors import ToolError
from dev.waiting import wait_for
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.resource import NAMESPACES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from dev.cluster import Cluster
    from dev.databases import MariaDB, MySQL, Server
    from dev.etcd import Etcd

GLOBALTX_PASSWORD = "for-tests-only"
"""Of the account ``globaltx``, which plays the sidecar's own in the fixture ``server``."""
_ACCOUNTS = f"""
    CREATE USER globaltx@'%' IDENTIFIED BY '{GLOBALTX_PASSWORD}';
    GRANT ALL ON *.* TO globaltx@'%';
"""
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

_ROOT = Path(__file__).parent.parent
MARIADB = pytest.param("mariadb", marks=pytest.mark.database)
MYSQL = pytest.param("mysql", marks=pytest.mark.mysql)
ON_MARIADB = pytest.mark.parametrize("server", [MARIADB], indirect=True)
ON_MYSQL = pytest.mark.parametrize("server", [MYSQL], indirect=True)
"""For tests of what only one of them has."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the deep checks play more random sequences than the quick ones, and others each time."""
    parser.addoption("--sequences", type=int, help="how many random sequences and inputs tests try")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a control plane or a database, so that nobody can forget to."""
    for item in items:
        if "mariadb" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.database)
        if "mysql" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.mysql)
        if "control_plane" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.control_plane)
        if "etcd" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.etcd)


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
def etcd() -> Iterator[Etcd]:
    """A real etcd of one member of this test session.

    All tests of the session share it: use the fixture ``prefix``, and bring up one of your own to break.
    """
    from dev.etcd import Etcd  # noqa: PLC0415  only where such tests are run

    with Etcd.up(_session_name(), durable=False) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """What the keys begin with that nobody else uses."""
    return f"/t-{secrets.token_hex(6)}/"


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A real MariaDB of this test session; root enters by its socket, without a password."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    with MariaDB.up(_session_name(), durable=False, sql=_ACCOUNTS) as server:
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL]:
    """The same as a MySQL."""
    from dev.databases import MySQL  # noqa: PLC0415  only where such tests are run

    with MySQL.up(_session_name(), durable=False, sql=_ACCOUNTS) as server:
        yield server


def _session_name() -> str:
    return f"test-{os.getpid()}-{secrets.token_hex(3)}"


@pytest.fixture(scope="session", params=[MARIADB, MYSQL])
def server(request: pytest.FixtureRequest) -> Server:
    """A real MariaDB, then a real MySQL: who asks for this runs on both.

    All tests of the session share it: use the fixture ``schema``.
    """
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def schema(server: Server) -> Iterator[str]:
    """An empty schema that nobody else uses."""
    name = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield name
    server.execute(f"DROP DATABASE IF EXISTS {name}")
