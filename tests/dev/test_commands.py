from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster.commands import command
from dev.cluster.state import PORTS, Component, Mode, Settings

PROGRAMS = Path("/programs")
FULL = Settings(
    "some",
    Mode.FULL,
    {name: 21000 + place for place, name in enumerate(PORTS)},
    pods="10.244.0.0/24",
    bridge_ip="10.244.0.1",
)
CONTROL_PLANE = replace(FULL, mode=Mode.CONTROL_PLANE, pods="", bridge_ip="")


@pytest.mark.parametrize("component", list(Component))
def test_a_program_can_be_found_again_by_its_arguments(component: Component) -> None:
    program, *flags = command(FULL, component, PROGRAMS)
    assert Path(program).name == component
    assert any(f"{FULL.folder}/" in flag for flag in flags)


@pytest.mark.parametrize("component", list(Component))
def test_two_clusters_share_no_port(component: Component) -> None:
    other = replace(FULL, name="other", ports={name: port + 100 for name, port in FULL.ports.items()})
    both = " ".join(command(FULL, component, PROGRAMS)), " ".join(command(other, component, PROGRAMS))
    ports = [{str(port) for port in FULL.ports.values() if str(port) in text} for text in both]
    assert not ports[1]


def test_only_a_cluster_with_pods_listens_beyond_this_machine() -> None:
    assert "--bind-address=127.0.0.1" in command(CONTROL_PLANE, Component.APISERVER, PROGRAMS)
    assert "--advertise-address=10.244.0.1" in command(FULL, Component.APISERVER, PROGRAMS)


def test_etcd_waits_for_the_disk_only_when_asked_to() -> None:
    assert "--unsafe-no-fsync" in command(FULL, Component.ETCD, PROGRAMS)
    assert "--unsafe-no-fsync" not in command(replace(FULL, durable=True), Component.ETCD, PROGRAMS)
