from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.etcd


def test_what_was_written_survives_a_crash_and_a_second_up(tmp_path: Path) -> None:
    with Etcd.up(folder=tmp_path / "etcd", durable=False) as etcd:
        (member,) = etcd.members
        member.ask("kv/put", key="YQ==", value="Yg==")
        member.crash()
        assert member.process is None
        again = Etcd.up(folder=tmp_path / "etcd", durable=False)
        assert again.endpoints == etcd.endpoints
        assert member.ask("kv/range", key="YQ==")["kvs"][0]["value"] == "Yg=="
        running = member.process
        Etcd.up(folder=tmp_path / "etcd", durable=False)
        assert member.process == running
    assert not etcd.folder.exists()


def test_three_members_with_tls_and_a_password_choose_another_leader(tmp_path: Path) -> None:
    shape = {"members": 3, "tls": True, "password": "secret", "durable": False}
    with Etcd.up(folder=tmp_path / "etcd", **shape) as etcd:  # type: ignore[arg-type]
        etcd.members[0].ask("kv/put", key="YQ==", value="Yg==")
        assert etcd.move_leader().ask("kv/range", key="YQ==")["kvs"]
        etcd.leader.crash()
        assert etcd.leader.ask("kv/range", key="YQ==")["kvs"]
        stranger = Etcd(etcd.folder, type(etcd.shape)(3, tls=True))
        stranger.members = etcd.members
        with pytest.raises(urllib.error.HTTPError):
            type(etcd.leader)(stranger, "m", etcd.leader.ports).ask("kv/range", key="YQ==")
