"""What cannot be made any more, in a namespace that is being deleted or is full, on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.stores.kubernetes.errors import NotFoundError
from globaltx.stores.kubernetes.resource import NAMESPACES, Resource
from globaltx.transaction.model import BranchId, Mode
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import State
from tests.operator.replicas import eventually

if TYPE_CHECKING:
    from globaltx.transaction.xid import Xid
    from tests.operator.replicas import Field

pytestmark = pytest.mark.control_plane

QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")


async def begin_and_wish_to_be_told(field: Field) -> Xid:
    xid = await field.begin(notify=(Notify("shop", "http://shop:8080/told"),))
    await field.store.join(BranchId(xid, "order", "database"), Mode.AT)
    return xid


async def goes(field: Field) -> None:
    async def gone() -> bool:
        try:
            await field.client.get(NAMESPACES, field.namespace)
        except NotFoundError:
            return True
        return False

    await eventually("the namespace goes", gone)


@pytest.mark.usefixtures("replicas")
async def test_a_namespace_goes_when_what_was_undecided_in_it_is_rolled_back(field: Field) -> None:
    await field.begin_with_branches("order")
    async with field.sidecar("order"):
        await field.client.delete(NAMESPACES, field.namespace)
        await goes(field)


@pytest.mark.usefixtures("replicas")
async def test_a_namespace_goes_though_somebody_in_it_wanted_to_be_told(field: Field) -> None:
    await begin_and_wish_to_be_told(field)
    async with field.sidecar("order"):
        await field.client.delete(NAMESPACES, field.namespace)
        await goes(field)


@pytest.mark.usefixtures("replicas")
async def test_an_outcome_is_carried_out_though_there_is_no_room_to_tell_it(field: Field) -> None:
    xid = await begin_and_wish_to_be_told(field)
    quota = {"metadata": {"name": "full"}, "spec": {"hard": {"count/branches.globaltx.io": "1"}}}
    await field.client.create(QUOTAS, quota, field.namespace)

    async def counted() -> bool:
        found = await field.client.get(QUOTAS, "full", field.namespace)
        return bool(found.get("status", {}).get("used") == {"count/branches.globaltx.io": "1"})

    await eventually("the quota counts", counted)
    async with field.sidecar("order"):
        await field.commit(xid)
        found = await field.reaches(xid, State.COMMITTED)
    assert [each["state"] for each in found["status"]["notifications"]] == ["Pending"]
