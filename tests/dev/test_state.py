from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dev.cluster.state import PORTS, Component, Mode, Settings, clusters, load, state_folder
from dev.errors import ToolError

if TYPE_CHECKING:
    from pathlib import Path

FULL = Settings(
    "some",
    Mode.FULL,
    {name: 21000 + place for place, name in enumerate(PORTS)},
    pods="10.244.0.0/24",
    bridge_ip="10.244.0.1",
)
CONTROL_PLANE = replace(FULL, mode=Mode.CONTROL_PLANE, pods="", bridge_ip="")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBALTX_STATE", str(tmp_path))


@pytest.mark.parametrize("settings", [FULL, replace(CONTROL_PLANE, without=(Component.CONTROLLER_MANAGER,))])
def test_what_is_written_is_read_back(settings: Settings) -> None:
    settings.save()
    assert load(settings.name) == settings
    assert list(clusters()) == [settings]


def test_a_cluster_that_never_was_is_none() -> None:
    assert load("never") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"mode": "half", "without": []}'])
def test_a_broken_file_is_said_with_the_way_out(text: str) -> None:
    state_folder("broken").mkdir()
    (state_folder("broken") / "cluster.json").write_text(text)
    with pytest.raises(ToolError, match="`down` removes the cluster"):
        load("broken")
    assert list(clusters()) == []


@pytest.mark.parametrize("name", ["", "Upper", "../up", "a/b", "-a", "a-", "a" * 31, "_databases"])
def test_a_name_that_could_do_harm_is_refused(name: str) -> None:
    with pytest.raises(ToolError, match="cannot name a cluster"):
        state_folder(name)


def test_a_full_cluster_serves_who_needs_a_control_plane() -> None:
    assert FULL.covers(Mode.CONTROL_PLANE, ())
    assert not CONTROL_PLANE.covers(Mode.FULL, ())


def test_a_cluster_without_a_program_serves_only_who_can_do_without_it() -> None:
    poor = replace(CONTROL_PLANE, without=(Component.CONTROLLER_MANAGER,))
    assert poor.components == (Component.ETCD, Component.APISERVER)
    assert not poor.covers(Mode.CONTROL_PLANE, ())
    assert poor.covers(Mode.CONTROL_PLANE, (Component.CONTROLLER_MANAGER,))


def test_the_bridge_name_fits_into_the_kernels_fifteen_characters() -> None:
    long = replace(FULL, name="a" * 30)
    assert len(long.bridge) <= 15
    assert long.bridge != FULL.bridge
