"""What a person sees with kubectl."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from globaltx.transaction.states import State

if TYPE_CHECKING:
    from dev.cluster import Cluster
    from globaltx.transaction.xid import Xid
    from tests.operator.replicas import Field

pytestmark = pytest.mark.control_plane


@pytest.fixture
async def ended(field: Field, replicas: list[object]) -> Xid:
    assert replicas
    xid = await field.begin_with_branches("order", "product")
    async with field.sidecar("order"), field.sidecar("product"):
        await field.roll_back(xid)
        await field.reaches(xid, State.ROLLED_BACK)
    return xid


async def test_what_kubectl_shows_of_a_transaction(control_plane: Cluster, field: Field, ended: Xid) -> None:
    async def kubectl(*arguments: str) -> str:
        return await asyncio.to_thread(control_plane.kubectl, "-n", field.namespace, *arguments)

    for name in ("globaltx", "gtx", "globaltransactions"):
        header, row = (line.split() for line in (await kubectl("get", name)).splitlines())
        assert header == ["NAME", "MODE", "STATE", "BRANCHES", "AGE"]
        assert row[:4] == [ended.name, "AT", "RolledBack", "2/2"]

    wide = (await kubectl("get", "gtx", "-o", "wide")).splitlines()
    assert wide[0].split()[5:] == ["APP", "DURATION", "MESSAGE"]
    assert "Rollback, RequestFailed: answered 400 (by pod-1)" in wide[1]

    branches = (await kubectl("get", "gtxb")).splitlines()
    assert branches[0].split() == ["NAME", "TRANSACTION", "APP", "RESOURCE", "STATE", "AGE"]
    assert {line.split()[2] for line in branches[1:]} == {"order", "product"}

    assert ended.name in await kubectl("get", "gtx", "--field-selector", "spec.outcome=Rollback")
    assert ended.name not in await kubectl("get", "gtx", "--field-selector", "spec.outcome=Commit")
    assert ended.name in await kubectl(
        "get", "gtx", "--field-selector", "status.state=RolledBack,spec.mode=AT"
    )

    described = await kubectl("describe", "gtx", ended.name)
    assert "Outcome Message:" in described
    assert "answered 400" in described
    assert "Settled At:" in described
    assert "RequestFailed" in described[described.index("Events:") :]

    assert "condition met" in await kubectl(
        "wait", "--for=condition=Succeeded=False", "--timeout=10s", f"globaltx/{ended.name}"
    )
    everything = await kubectl("get", "globaltx-all", "-o", "name")
    assert "globaltransaction.globaltx.io" in everything
    assert "branch.globaltx.io" in everything
