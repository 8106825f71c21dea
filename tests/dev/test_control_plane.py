from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from dev.cluster import Cluster, Component, ToolError, processes
from dev.cluster.state import state_folder
from dev.folders import state_root

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.control_plane
EVERY = [str(component) for component in Component]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster.up(f"tools-{secrets.token_hex(3)}", "control-plane") as cluster:
        yield cluster


def _pids(cluster: Cluster) -> set[int]:
    return {process.pid for process in processes.owned(cluster.settings.folder, EVERY)}


def test_the_server_knows_its_version_and_has_the_first_objects(cluster: Cluster) -> None:
    assert '"gitVersion": "v1.34' in cluster.kubectl("version", "-o", "json")
    assert "default" in cluster.kubectl("get", "serviceaccounts", "-o", "name")


def test_a_second_up_leaves_everything_as_it_is(cluster: Cluster) -> None:
    before = _pids(cluster)
    again = Cluster.up(cluster.name)
    assert again.settings == cluster.settings
    assert _pids(cluster) == before


def test_it_comes_back_after_a_kill_of_everything(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    processes.kill(processes.owned(cluster.settings.folder, EVERY))
    assert _pids(cluster) == set()
    again = Cluster.up(cluster.name)
    assert again.settings == cluster.settings
    assert again.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"


@pytest.mark.parametrize("component", [Component.ETCD, Component.APISERVER])
def test_a_part_can_be_crashed_and_started_again(cluster: Cluster, component: Component) -> None:
    cluster.crash(component)
    assert not cluster.is_ready(component)
    with pytest.raises(ToolError):
        cluster.kubectl("get", "namespaces", "--request-timeout=2s")
    cluster.start(component)
    assert "namespace/default" in cluster.kubectl("get", "namespaces", "-o", "name")


def test_another_cluster_runs_beside_it_and_goes_without_a_trace(cluster: Cluster) -> None:
    name = f"{cluster.name}-2"
    with Cluster.up(name, "control-plane", without=[Component.CONTROLLER_MANAGER]) as other:
        assert not set(other.settings.ports.values()) & set(cluster.settings.ports.values())
        assert other.process(Component.CONTROLLER_MANAGER) is None
        other.kubectl("create", "namespace", "only-here")
        with pytest.raises(ToolError, match="not found"):
            cluster.kubectl("get", "namespace", "only-here")
    assert not processes.owned(state_folder(name), EVERY)
    assert not list(state_root().glob(f"{name}*"))
    with pytest.raises(ToolError, match="there is no cluster"):
        Cluster.find(name)


def test_a_program_that_cannot_start_is_told_with_its_last_words(cluster: Cluster) -> None:
    cluster.crash(Component.ETCD)
    key = cluster.settings.folder / "etcd"
    aside = key.rename(key.with_name("aside"))
    key.write_text("no folder")
    try:
        with pytest.raises(ToolError, match="etcd ended at its start"):
            cluster.start(Component.ETCD)
    finally:
        key.unlink()
        aside.rename(key)
        cluster.start(Component.ETCD)
