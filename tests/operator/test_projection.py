"""Transactions in an etcd as resources: what `kubectl get globaltx` tells, and what a person may say."""

from __future__ import annotations

import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.conflicts import resolution_spec
from globaltx.manifest.projected import LABEL_PROJECTED, is_projected
from globaltx.stores.base import UnknownTransactionError
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.stores.kubernetes.resource import BRANCHES, POLICIES, TRANSACTIONS
from globaltx.transaction.conflict import CarriedOut, Remedy, Resolution, RowConflict
from globaltx.transaction.model import BranchId, Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import RANDOM_BITS, Xid, new_xid
from globaltx_operator.projection import RESYNC_SECONDS
from tests.operator.replicas import Replica, eventually
from tests.operator.test_policies import DATASOURCE
from tests.stores.harness import COMMIT, CONFLICT, ENDED, ROLLBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dev.cluster import Cluster
    from dev.etcd import Etcd
    from tests.operator.replicas import Field

pytestmark = [pytest.mark.control_plane, pytest.mark.etcd]
HOUR = timedelta(hours=1)
IN_CONFLICT = replace(
    CONFLICT, conflicts=(RowConflict("r7", "stock", "id=7", "it was changed"),), conflicts_total=1
)
BY_PERSON = {"outcome": "Commit", "outcomeReason": "DecidedByPerson", "decidedBy": "ann"}


@dataclass
class Kept:
    """Transactions in an etcd, an operator that shows them, and where it does."""

    field: Field
    store: EtcdStore
    operator: Replica

    async def begin(self, *apps: str, policy: str = "") -> Xid:
        xid = new_xid(self.field.namespace, time.time_ns() // 10**6, secrets.randbits(RANDOM_BITS))
        await self.store.begin(GlobalTransaction(xid, "order", HOUR, policy=policy))
        for app in apps:
            await self.store.join(BranchId(xid, app, "db"), Mode.AT)
        return xid

    async def end(self, xid: Xid, outcome: Outcome, *apps: str) -> None:
        await self.store.decide(xid, COMMIT if outcome is Outcome.COMMIT else ROLLBACK)
        for app in apps:
            await self.store.settle(BranchId(xid, app, "db"), ENDED[outcome])

    async def shown(self, xid: Xid, branches: int = 0) -> dict[str, Any]:
        async def check() -> dict[str, Any] | None:
            there = len(await self.field.branches(xid)) == branches
            return await self.field.transaction(xid) if there else None

        found: dict[str, Any] = await eventually(f"{xid} is shown with {branches} branches", check)
        return found

    async def person_sets(self, xid: Xid, spec: dict[str, str]) -> None:
        await self.field.client.patch(TRANSACTIONS, xid.name, {"spec": spec}, xid.namespace)

    async def decision(self, xid: Xid) -> Decision | None:
        return (await self.store.read(xid)).transaction.decision

    async def policy(self, name: str, projection: str) -> None:
        body = {
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "datasources": [DATASOURCE],
                "projection": projection,
            },
        }
        await self.field.client.create(POLICIES, body, self.field.namespace)


@pytest.fixture
async def kept(
    control_plane: Cluster, field: Field, etcd: Etcd, prefix: str, tmp_path: Path
) -> AsyncIterator[Kept]:
    flags = ("--etcd-endpoints", ",".join(etcd.endpoints), "--etcd-prefix", prefix)
    operator = Replica(control_plane.kubeconfig, field.namespace, tmp_path, arguments=flags).start()
    async with EtcdClient(EtcdAccess(etcd.endpoints)) as client:
        store = EtcdStore(client, field.namespace, prefix=prefix)
        try:
            await operator.ready()
            yield Kept(field, store, operator)
        finally:
            await operator.end()
            await store.close()


async def test_the_same_story_is_told_as_of_transactions_in_resources(kept: Kept) -> None:
    xid = await kept.begin("order", "stock")
    found = await kept.shown(xid, branches=2)
    assert is_projected(found)
    assert not found["metadata"].get("finalizers")
    await kept.store.decide(xid, ROLLBACK)
    assert (await kept.field.reaches(xid, State.ROLLING_BACK))["spec"]["outcome"] == "Rollback"
    await kept.store.settle(BranchId(xid, "order", "db"), CONFLICT)
    found = await kept.field.reaches(xid, State.CONFLICT)
    assert found["status"]["branches"] == "0/2"
    assert "order/db: RowChanged: row 7 was changed" in found["status"]["message"]

    async def conflict_is_shown() -> bool:
        states = {each["spec"]["app"]: each["status"]["state"] for each in await kept.field.branches(xid)}
        return states == {"order": "Conflict", "stock": "Active"}

    await eventually("the branch is in Conflict", conflict_is_shown)
    for app in ("order", "stock"):
        await kept.store.settle(BranchId(xid, app, "db"), ENDED[Outcome.ROLLBACK])
    await kept.field.gone(xid)


async def test_it_is_shown_within_two_seconds(kept: Kept) -> None:
    begun = time.monotonic()
    xid = await kept.begin("order")
    await kept.shown(xid, branches=1)
    assert time.monotonic() - begun < 10, "two seconds, and what a busy machine adds"


async def test_a_policy_that_comes_to_ask_for_something_else_is_followed_at_once(kept: Kept) -> None:
    await kept.policy("chosen", "None")
    pending = await kept.begin("order", policy="chosen")
    await kept.shown(await kept.begin("order"), branches=1)  # one of no policy, begun later
    assert await kept.field.transaction(pending) is None

    async def asks_for(projection: str) -> None:
        patch = {"spec": {"projection": projection}}
        await kept.field.client.patch(POLICIES, "chosen", patch, kept.field.namespace)

    for _ in range(2):
        changed = time.monotonic()
        await asks_for("All")
        await kept.shown(pending, branches=1)
        await asks_for("None")
        await kept.field.gone(pending)
        assert time.monotonic() - changed < RESYNC_SECONDS / 2, "not only at the next look at everything"
    assert (await kept.store.read(pending)).transaction.decision is None


@pytest.mark.parametrize("projection", ["All", "None"])
async def test_the_policy_says_what_is_shown(kept: Kept, projection: str) -> None:
    await kept.policy("chosen", projection)
    chosen = await kept.begin("order", policy="chosen")
    usual = await kept.begin("order")
    await kept.shown(usual, branches=1)
    if projection == "None":
        assert await kept.field.transaction(chosen) is None
        return
    for xid in (chosen, usual):
        await kept.end(xid, Outcome.COMMIT, "order")
    await kept.field.gone(usual)
    found = await kept.field.reaches(chosen, State.COMMITTED)
    assert (found["status"]["branches"], found["spec"]["outcome"]) == ("1/1", "Commit")
    [branch] = await kept.field.branches(chosen)
    assert branch["metadata"]["labels"][LABEL_PROJECTED] == "true"


async def test_a_person_may_set_the_outcome_there(kept: Kept) -> None:
    xid = await kept.begin("order")
    await kept.shown(xid, branches=1)
    await kept.person_sets(xid, BY_PERSON)

    async def decided() -> Decision | None:
        return await kept.decision(xid)

    taken = await eventually("the outcome is taken", decided)
    assert (taken.outcome, taken.reason, taken.by) == (Outcome.COMMIT, Reason.DECIDED_BY_PERSON, "ann")
    await kept.store.settle(BranchId(xid, "order", "db"), ENDED[Outcome.COMMIT])
    await kept.field.gone(xid)


async def test_after_a_restart_what_is_shown_is_what_is_there(kept: Kept) -> None:
    ended, late, deleted = [await kept.begin("order") for _ in range(3)]
    for xid in (ended, late, deleted):
        await kept.shown(xid, branches=1)
    await kept.operator.kill()
    await kept.end(ended, Outcome.COMMIT, "order")
    await kept.store.forget(ended)
    await kept.store.decide(late, ROLLBACK)
    await kept.person_sets(late, BY_PERSON)  # in the window in which nobody could tell them
    await kept.field.client.delete(TRANSACTIONS, deleted.name, deleted.namespace)
    new = await kept.begin("stock")
    await kept.operator.start().ready()
    await kept.field.gone(ended)
    await kept.shown(new, branches=1)
    await kept.shown(deleted, branches=1)  # it shows what is, and is made anew

    async def refused() -> bool:
        found = await kept.field.transaction(late)
        told = ("GlobalTransaction", str(Reason.ALREADY_DECIDED)) in await kept.field.events(late)
        return found is not None and found["spec"].get("outcome") == "Rollback" and told

    await eventually("the outcome that came too late is refused", refused)
    assert (await kept.store.read(late)).transaction.decision is not None


async def test_what_is_shown_of_one_that_had_the_name_before_decides_nothing(kept: Kept) -> None:
    xid = await kept.begin("order")
    await kept.shown(xid, branches=1)
    await kept.store.decide(xid, COMMIT)
    await kept.field.reaches(xid, State.COMMITTING)
    await kept.operator.kill()
    await kept.store.settle(BranchId(xid, "order", "db"), ENDED[Outcome.COMMIT])
    await kept.store.forget(xid)
    await kept.store.begin(
        GlobalTransaction(xid, "order", HOUR)
    )  # as a request does that brings its id again
    await kept.operator.start().ready()

    async def shown_anew() -> bool:
        found = await kept.field.transaction(xid)
        return found is not None and "outcome" not in found["spec"]

    await eventually("it is shown as it stands", shown_anew)
    assert await kept.decision(xid) is None


async def test_whoever_works_on_resources_leaves_them_alone(kept: Kept) -> None:
    xid = await kept.begin("order")
    await kept.shown(xid, branches=1)
    await kept.store.decide(xid, ROLLBACK)
    await kept.field.reaches(xid, State.ROLLING_BACK)
    elsewhere = kept.field.store
    with pytest.raises(UnknownTransactionError):
        await elsewhere.read(xid)
    with pytest.raises(UnknownTransactionError):
        await elsewhere.join(BranchId(xid, "late", "db"), Mode.AT)
    async with kept.field.sidecar("order"):  # of a pod that was injected when transactions were resources
        real = await kept.field.begin_with_branches("order")
        await kept.field.commit(real)
        await kept.field.reaches(real, State.COMMITTED)
    [branch] = await kept.field.branches(xid)
    assert branch["status"]["state"] == "Active"


async def test_a_person_may_decide_about_rows_in_conflict_there(kept: Kept) -> None:
    xid = await kept.begin("order")
    branch = BranchId(xid, "order", "db")
    await kept.store.decide(xid, ROLLBACK)
    await kept.store.stamp(xid)
    await kept.store.settle(branch, IN_CONFLICT)

    async def row_is_shown() -> bool:
        found = [each for each in await kept.field.branches(xid) if each["status"].get("conflicts")]
        return [each["status"]["conflicts"][0]["key"] for each in found] == ["id=7"]

    await eventually("the row is shown", row_is_shown)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    decided = Resolution(1, Remedy.KEEP, "the stock was counted", "ann", at, "stock", "r7")
    patch = {"spec": {"resolutions": [resolution_spec(decided)]}}
    await kept.field.client.patch(BRANCHES, branch.name, patch, xid.namespace)
    async with aclosing(kept.store.watch("order")) as told:
        async for each in told:
            if each.resolutions:
                break
    assert each.resolutions == (decided,)
    done = (CarriedOut(1, 1, at),)
    await kept.store.settle(branch, replace(IN_CONFLICT, conflicts=(), conflicts_total=0, carried_out=done))

    async def carried_out_is_shown() -> bool:
        [found] = await kept.field.branches(xid)
        status = found["status"]
        return "conflicts" not in status and [each["rows"] for each in status.get("resolutions", ())] == [1]

    await eventually("what became of the decision is shown", carried_out_is_shown)

    async def event_is_told() -> bool:
        return ("Branch", str(Reason.RESOLVED_BY_PERSON)) in await kept.field.events(xid)

    await eventually("an Event tells who decided", event_is_told)
    await kept.store.settle(branch, ENDED[Outcome.ROLLBACK])
    await kept.field.gone(xid)
