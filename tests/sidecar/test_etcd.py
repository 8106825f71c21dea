"""A sidecar whose transactions are kept in an etcd; the API server is away all the time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.manifest.settings import EtcdSettings, SidecarSettings
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from tests.ports import free_port
from tests.sidecar.programs import SidecarProgram, get, http_settings
from tests.sidecar.test_server import CREATE, Application, application, away

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["application"]
pytestmark = pytest.mark.etcd


async def test_it_begins_and_decides_in_etcd_and_tells_when_that_is_away(
    application: Application,
    tmp_path: Path,
) -> None:
    route = Route(CREATE.name, path=CREATE.path, timeout=CREATE.timeout)
    with Etcd.up(folder=tmp_path / "etcd", durable=False, password="secret") as etcd:
        settings = SidecarSettings(
            namespace="shop",
            app="aggregation",
            http=http_settings(application.server_address[1], [route]),
            control_port=free_port(),
            etcd=EtcdSettings(etcd.endpoints, "/p/"),
        )
        program = SidecarProgram(settings, tmp_path, away(tmp_path))
        program.command = [*program.command, "--etcd-credentials", str(etcd.credentials)]
        with program as sidecar:
            status, xid = await asyncio.to_thread(get, sidecar.url + "/create", method="POST", body=b"{}")
            assert status == 200
            async with EtcdClient(EtcdAccess(etcd.endpoints, etcd.credentials)) as client:
                found = (await EtcdStore(client, "shop", prefix="/p/").read(Xid.parse(xid))).transaction
            assert found.decision is not None
            assert found.decision.outcome is Outcome.COMMIT
            await asyncio.to_thread(wait_for, "etcd to be told up", lambda: _etcd(sidecar).get("up"))
            etcd.members[0].crash()
            reason = "StoreUnavailable"
            await asyncio.to_thread(wait_for, "the loss", lambda: _etcd(sidecar).get("reason") == reason)
            plain = await asyncio.to_thread(get, sidecar.url + "/plain", method="POST", body=b"{}")
            assert plain == (400, "none")
            await asyncio.to_thread(etcd.members[0].start)
            await asyncio.to_thread(wait_for, "etcd to be back", lambda: _etcd(sidecar).get("up"))


def _etcd(sidecar: SidecarProgram) -> dict[str, object]:
    return sidecar.parts().get("etcd", {})
