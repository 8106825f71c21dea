"""The operator as a process, on a real API server; the sidecars are played by the real store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.resources import branch_to_resource
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.transaction.calls import Calls, Reservation
from globaltx.transaction.model import Branch, BranchId, Mode
from globaltx.transaction.states import State
from tests.operator.replicas import eventually
from tests.sidecar.programs import LEASE

if TYPE_CHECKING:
    from tests.operator.replicas import Field, Replica

pytestmark = pytest.mark.control_plane


async def one_leader(replicas: list[Replica]) -> tuple[Replica, Replica]:
    """Who leads, and who does not; there is never more than one."""

    async def check() -> tuple[Replica, Replica] | None:
        first, second = [await replica.leads() for replica in replicas]
        assert not (first and second)
        if not (first or second):
            return None
        return (replicas[0], replicas[1]) if first else (replicas[1], replicas[0])

    leader, other = await eventually("one replica leads", check)
    return leader, other


async def test_a_commit_is_carried_out_everywhere(field: Field, replicas: list[Replica]) -> None:
    xid = await field.begin_with_branches("order", "product")
    async with field.sidecar("order"), field.sidecar("product"):
        await field.commit(xid)
        found = await field.reaches(xid, State.COMMITTED)
    assert found["status"]["branches"] == "2/2"
    condition = found["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Succeeded", "True", "Committed")
    assert "answered 200" in found["status"]["message"]
    await field.released(xid)
    for branch in await field.branches(xid):
        assert branch["spec"]["outcome"] == "Commit"
        assert branch["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
    told = await field.events(xid)  # nothing, unless it took longer than the 2 s of a smooth commit
    assert told in ([], [("GlobalTransaction", "Committed"), ("GlobalTransaction", "RequestSucceeded")])
    metrics = [(await replica.get("/metrics"))[1] for replica in replicas]
    decided = 'globaltx_decisions_total{outcome="Commit",reason="RequestSucceeded"} 1.0'
    assert sum(decided in text for text in metrics) == 1
    assert all('globaltx_transactions{state="Committed"} 1.0' in text for text in metrics)


@pytest.mark.usefixtures("replicas")
async def test_from_the_outcome_on_nothing_keeps_account_of_fields(field: Field) -> None:
    """Half of the object and a third of each write's cost; a later write must not bring it back."""
    xid = await field.begin_with_branches("order", "stock")
    assert all(each["metadata"].get("managedFields") for each in await field.branches(xid))
    async with field.sidecar("order"), field.sidecar("stock"):
        await field.commit(xid)
        await field.reaches(xid, State.COMMITTED)
        await field.released(xid)
    found = [await field.transaction(xid), *await field.branches(xid)]
    assert len(found) == 3
    assert not [each for each in found if each and each["metadata"].get("managedFields")]


@pytest.mark.usefixtures("replicas")
async def test_a_rollback_tells_why_and_who(field: Field) -> None:
    xid = await field.begin_with_branches("order")
    async with field.sidecar("order"):
        await field.roll_back(xid)
        found = await field.reaches(xid, State.ROLLED_BACK)
    assert found["status"]["message"] == "Rollback, RequestFailed: answered 400 (by pod-1)"
    assert found["status"]["conditions"][0]["status"] == "False"
    assert {"decidedAt", "settledAt", "duration"} <= set(found["status"])


@pytest.mark.usefixtures("replicas")
async def test_a_transaction_without_branches_ends_at_once(field: Field) -> None:
    xid = await field.begin()
    await field.commit(xid)
    assert (await field.reaches(xid, State.COMMITTED))["status"]["branches"] == "0/0"


@pytest.mark.usefixtures("replicas")
async def test_at_the_deadline_an_undecided_transaction_is_rolled_back(field: Field) -> None:
    xid = await field.begin_with_branches("order", deadline=5)
    async with field.sidecar("order"):
        found = await field.reaches(xid, State.ROLLED_BACK)
    assert found["spec"]["outcomeReason"] == Reason.DEADLINE_EXCEEDED
    assert found["spec"]["decidedBy"] == "globaltx-operator"
    assert ("GlobalTransaction", "DeadlineExceeded") in await field.events(xid)


@pytest.mark.usefixtures("replicas")
async def test_a_reservation_brings_the_deadline_forward(field: Field) -> None:
    xid = await field.begin_with_branches("order")
    reservation = Reservation(timedelta(seconds=15), "/state", timedelta(seconds=10))
    calls = Calls("/confirm", "", reservation=reservation)
    await field.store.join(BranchId(xid, "account", "debit.1"), Mode.TCD, calls)

    async def decided() -> str | None:
        found = await field.transaction(xid)
        assert found is not None
        reason: str | None = found["spec"].get("outcomeReason")
        return reason

    assert await eventually("it is rolled back", decided) == Reason.DEADLINE_EXCEEDED


@pytest.mark.usefixtures("replicas")
async def test_an_undecided_transaction_that_is_deleted_is_undone_before_it_goes(field: Field) -> None:
    xid = await field.begin_with_branches("order")
    await field.client.delete(TRANSACTIONS, xid.name, xid.namespace)

    async def stamped() -> bool:
        return [each["spec"].get("outcome") for each in await field.branches(xid)] == ["Rollback"]

    await eventually("the branch is told to roll back", stamped)
    held = await field.transaction(xid)
    assert held is not None
    assert held["spec"]["outcomeReason"] == Reason.DELETION_REQUESTED
    async with field.sidecar("order"):
        await field.gone(xid)


@pytest.mark.usefixtures("replicas")
async def test_a_settled_transaction_goes_when_its_time_is_over(field: Field) -> None:
    xid = await field.begin_with_branches("order", ttl=2)
    async with field.sidecar("order"):
        await field.commit(xid)
        await field.reaches(xid, State.COMMITTED)
        await field.gone(xid)


@pytest.mark.usefixtures("replicas")
@pytest.mark.parametrize("state", ["RollingBack", None])
async def test_a_status_that_a_person_has_written_keeps_no_outcome(field: Field, state: str | None) -> None:
    xid = await field.begin_with_branches("order")
    patch = {"status": {"state": state, "conditions": None}}
    await field.client.patch(TRANSACTIONS, xid.name, patch, xid.namespace, subresource="status")
    async with field.sidecar("order"):
        await field.commit(xid)
        await field.released(xid)
        await field.reaches(xid, State.COMMITTED)


@pytest.mark.usefixtures("replicas")
async def test_a_branch_that_comes_late_is_told_and_let_go(field: Field) -> None:
    xid = await field.begin()
    await field.commit(xid)
    await field.reaches(xid, State.COMMITTED)
    late = branch_to_resource(Branch(BranchId(xid, "late", "database")))
    await field.client.create(BRANCHES, late, xid.namespace)
    async with field.sidecar("late"):
        await field.released(xid)
    assert [each["status"]["state"] for each in await field.branches(xid)] == ["Committed"]

    async def counted() -> bool:
        found = await field.transaction(xid)
        return found is not None and found["status"]["branches"] == "1/1"

    await eventually("the late branch is counted", counted)


@pytest.mark.usefixtures("replicas")
async def test_a_conflict_is_told_and_ends_when_a_person_has_seen_to_it(field: Field) -> None:
    xid = await field.begin_with_branches("order", "product", ttl=1)
    async with field.sidecar("product"):
        async with field.sidecar("order", conflicting=True):
            await field.roll_back(xid)
            found = await field.reaches(xid, State.CONFLICT)
        assert "order/database: RowChanged: row 7 was changed" in found["status"]["message"]

        async def told() -> bool:
            return {("Branch", "RowChanged"), ("GlobalTransaction", "Conflict")} <= set(
                await field.events(xid)
            )

        await eventually("the conflict is told at both", told)
        async with field.sidecar("order"):
            await field.gone(xid)


@pytest.mark.usefixtures("replicas")
async def test_a_branch_whose_transaction_was_removed_by_force_waits_for_a_person(field: Field) -> None:
    xid = await field.begin_with_branches("order")
    await field.client.patch(TRANSACTIONS, xid.name, {"metadata": {"finalizers": []}}, xid.namespace)
    await field.client.delete(TRANSACTIONS, xid.name, xid.namespace)

    async def reported() -> dict[str, str] | None:
        (branch,) = await field.branches(xid)
        return branch if branch["status"].get("reason") == Reason.UNKNOWN_TRANSACTION else None

    branch = await eventually("the branch is reported", reported)
    assert "outcome" not in branch["spec"]
    assert ("Branch", "UnknownTransaction") in await field.events(xid)
    async with field.sidecar("order"):
        name = branch["metadata"]["name"]
        await field.client.patch(BRANCHES, name, {"spec": {"outcome": "Rollback"}}, xid.namespace)
        await field.gone(xid)


@pytest.mark.kill
@pytest.mark.parametrize("replicas", [LEASE], indirect=True)
async def test_another_replica_finishes_what_a_killed_leader_began(
    field: Field, replicas: list[Replica]
) -> None:
    leader, other = await one_leader(replicas)
    xids = [await field.begin_with_branches("order", "product") for _ in range(3)]
    late = await field.begin_with_branches("order", deadline=5)
    await field.commit(xids[0])
    await leader.kill()
    await field.commit(xids[1])
    await field.roll_back(xids[2])
    async with field.sidecar("order"), field.sidecar("product"):
        for xid, state in zip(xids, (State.COMMITTED, State.COMMITTED, State.ROLLED_BACK), strict=True):
            await field.reaches(xid, state)
            await field.released(xid)
        await field.reaches(late, State.ROLLED_BACK)
    assert await other.leads()
    for xid in xids:
        told = await field.events(xid)
        assert len(told) == len(set(told))
    assert ("GlobalTransaction", "RolledBack") in await field.events(xids[2])


async def test_a_leader_that_is_told_to_stop_hands_over_at_once(
    field: Field, replicas: list[Replica]
) -> None:
    leader, other = await one_leader(replicas)
    assert await leader.terminate() == 0, leader.log
    await eventually("the other replica leads", other.leads, within=10)  # no lease is waited out (15 s)
    xid = await field.begin()
    await field.commit(xid)
    await field.reaches(xid, State.COMMITTED)


async def test_a_restart_tells_nothing_twice(field: Field, replicas: list[Replica]) -> None:
    xid = await field.begin_with_branches("order")
    async with field.sidecar("order"):
        await field.roll_back(xid)
        await field.reaches(xid, State.ROLLED_BACK)
        await field.released(xid)
    before, told = await field.transaction(xid), await field.events(xid)
    for replica in replicas:
        await replica.terminate()
        await replica.start().ready()
    await one_leader(replicas)
    other = await field.begin()
    await field.commit(other)
    await field.reaches(other, State.COMMITTED)  # so the new leader has looked at everything
    assert await field.transaction(xid) == before
    assert await field.events(xid) == told
    assert ("GlobalTransaction", "RolledBack") in told
