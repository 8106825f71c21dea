from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.conflict import CarriedOut, Remedy, Resolution
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode, Settlement
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.desk import Pace
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics
from tests.sidecar.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

FAST = Backoff(first=0.001, most=0.01)
PACE = Pace(backoff=FAST, pause=FAST, conflict_seconds=0.01)
PATIENT = replace(PACE, conflict_seconds=3600)


class Database:
    """A database in which outcomes are carried out; it can be down, hang, or dislike some xids."""

    def __init__(self) -> None:
        self.committed: list[list[Xid]] = []
        self.rolled_back: list[Xid] = []
        self.together: list[list[Xid]] = []
        self.bad: set[Xid] = set()
        self.conflicts: set[Xid] = set()
        self.attempts: Counter[Xid] = Counter()
        self.heard: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.side_by_side = 0
        self.side_by_side_max = 0
        self.swept = 0
        self.left_over: list[Xid] = []
        self.asked_older_than = 0.0

    async def commit(self, xids: Sequence[Xid]) -> None:
        await self._work(xids)
        self.committed.append(list(xids))

    async def rollback_together(self, xids: Sequence[Xid]) -> bool:
        self.together.append(list(xids))
        if self.conflicts & set(xids):
            return False
        await self._work(xids)
        self.rolled_back += xids
        return True

    async def rollback(self, xid: Xid, resolutions: Sequence[Resolution] = ()) -> Settlement:
        self.heard.append([each.number for each in resolutions])
        await self._work([xid])
        done = tuple(CarriedOut(each.number) for each in resolutions)
        if xid in self.conflicts:
            return Settlement(State.CONFLICT, Reason.ROW_CHANGED, "inventory 1: 5 became 6", carried_out=done)
        self.rolled_back.append(xid)
        return Settlement(State.ROLLED_BACK, Reason.ROLLED_BACK, carried_out=done)

    async def sweep(self) -> int:
        self.swept += 1
        return 2

    async def stale(self, older_than_seconds: float) -> list[Xid]:
        self.asked_older_than = older_than_seconds
        return self.left_over

    async def _work(self, xids: Sequence[Xid]) -> None:
        self.attempts.update(xids)
        self.side_by_side += 1
        self.side_by_side_max = max(self.side_by_side_max, self.side_by_side)
        try:
            await self.go.wait()
            if self.bad & set(xids):
                message = "cannot connect"
                raise ConnectionError(message)
        finally:
            self.side_by_side -= 1


class Stage:
    """A leader over a memory store and two databases."""

    def __init__(self, pace: Pace = PACE) -> None:
        self.memory = Memory()
        self.lost_settles = 0
        self.settles = 0
        self.hears = asyncio.Event()
        self.hears.set()
        self.store = MemoryStore(self.memory, hook=self._hook)
        self.client = MemoryStore(self.memory)
        self.orders, self.stock = Database(), Database()
        self.metrics = Metrics()
        self.health = Health(self.metrics)
        carriers = {"orders": self.orders, "stock": self.stock}
        self.leader = Leader(self.store, "order", carriers, self.health, self.metrics, pace)

    async def _hook(self, call: str, when: str) -> None:
        self.settles += (call, when) == ("settle", "before")
        if call == "settle":
            await self.hears.wait()
        if (call, when) == ("settle", "before") and self.lost_settles:
            self.lost_settles -= 1
            message = "lost"
            raise StoreUnavailableError(message)

    async def ended(self, name: str, outcome: Outcome, *resources: str) -> Xid:
        """A transaction with branches of this app, and its outcome."""
        xid = Xid("shop", name)
        await self.client.begin(GlobalTransaction(xid, "aggregation", timedelta(seconds=60)))
        for resource in resources or ("orders",):
            await self.client.join(BranchId(xid, "order", resource), Mode.AT)
        await self.client.decide(xid, Decision(outcome, Reason.REQUEST_FAILED))
        return xid

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            async with self.memory.changed:
                await self.memory.changed.wait_for(holds)

    async def settled(self, count: int) -> None:
        await self.until(lambda: sum(each.settled for each in self.memory.branches.values()) == count)

    def states(self) -> dict[tuple[str, str], State]:
        return {(key.xid.name, key.resource): each.state for key, each in self.memory.branches.items()}


@asynccontextmanager
async def leading(stage: Stage) -> AsyncIterator[None]:
    leading = asyncio.create_task(stage.leader.lead(1))
    try:
        yield
        assert not leading.done()
    finally:
        leading.cancel()
        await asyncio.wait([leading])


async def test_each_outcome_is_carried_out_in_its_database_and_reported() -> None:
    stage = Stage()
    one = await stage.ended("one", Outcome.COMMIT, "orders", "stock")
    async with leading(stage):
        two = await stage.ended("two", Outcome.ROLLBACK, "orders")
        await stage.settled(3)
    assert stage.states() == {
        ("one", "orders"): State.COMMITTED,
        ("one", "stock"): State.COMMITTED,
        ("two", "orders"): State.ROLLED_BACK,
    }
    assert stage.orders.committed == stage.stock.committed == [[one]]
    assert stage.orders.rolled_back == [two]


async def test_commits_that_wait_are_carried_out_together() -> None:
    stage = Stage()
    for number in range(50):
        await stage.ended(f"n{number}", Outcome.COMMIT)
    async with leading(stage):
        await stage.settled(50)
    assert len(stage.orders.committed) <= 3
    assert stage.orders.side_by_side_max == 1


async def test_rollbacks_go_side_by_side_but_not_without_bound() -> None:
    stage = Stage(replace(PACE, rollback_batch_max=2))
    stage.orders.go.clear()
    for number in range(30):
        await stage.ended(f"n{number}", Outcome.ROLLBACK)
    async with leading(stage):
        await eventually(lambda: stage.orders.side_by_side == PACE.rollbacks_max)
        stage.orders.go.set()
        await stage.settled(30)
    assert stage.orders.side_by_side_max == PACE.rollbacks_max
    assert max(map(len, stage.orders.together)) == 2


async def test_rollbacks_that_come_while_others_are_under_way_go_together_behind_them() -> None:
    stage = Stage(replace(PACE, gather_seconds=3600))
    stage.orders.go.clear()
    async with leading(stage):
        xids = [await stage.ended("n0", Outcome.ROLLBACK)]
        await eventually(lambda: stage.orders.side_by_side == 1)
        xids += [await stage.ended(f"n{number}", Outcome.ROLLBACK) for number in range(1, 10)]
        await eventually(lambda: stage.metrics.branches_waiting.labels("orders")._value.get() == 10)
        stage.orders.go.set()
        await stage.settled(10)
    assert stage.orders.together == [xids[:1], xids[1:]]
    assert stage.orders.side_by_side_max == 1


async def test_a_batch_that_hangs_keeps_others_for_a_moment_only() -> None:
    stage = Stage(replace(PACE, gather_seconds=0.01))
    stage.orders.go.clear()
    async with leading(stage):
        for number in range(3):
            await stage.ended(f"n{number}", Outcome.ROLLBACK)
            await eventually(lambda number=number: stage.orders.side_by_side == number + 1)  # type: ignore[misc]
        stage.orders.go.set()
        await stage.settled(3)


async def test_a_full_batch_waits_for_no_other() -> None:
    stage = Stage(replace(PACE, gather_seconds=3600, rollback_batch_max=3))
    stage.orders.go.clear()
    async with leading(stage):
        await stage.ended("n0", Outcome.ROLLBACK)
        await eventually(lambda: stage.orders.side_by_side == 1)
        for number in range(1, 4):
            await stage.ended(f"n{number}", Outcome.ROLLBACK)
        await eventually(lambda: stage.orders.side_by_side == 2)
        stage.orders.go.set()
        await stage.settled(4)


async def test_rollbacks_that_cannot_go_together_are_told_apart_once() -> None:
    stage = Stage(PATIENT)
    xids = [await stage.ended(f"n{number}", Outcome.ROLLBACK) for number in range(10)]
    stage.orders.conflicts = {xids[3]}
    async with leading(stage):
        await stage.settled(9)
        await stage.until(lambda: stage.states()["n3", "orders"] is State.CONFLICT)
    assert sorted(stage.orders.rolled_back) == sorted({*xids} - {xids[3]})
    assert all(count == 1 for count in stage.orders.attempts.values())
    assert sum(xids[3] in batch for batch in stage.orders.together) == 1


async def test_one_hanging_database_holds_up_no_other() -> None:
    stage = Stage()
    stage.orders.go.clear()
    await stage.ended("one", Outcome.ROLLBACK, "orders", "stock")
    await stage.ended("two", Outcome.COMMIT, "orders", "stock")
    async with leading(stage):
        await stage.settled(2)
        assert stage.states()["one", "stock"] is State.ROLLED_BACK
        assert stage.states()["two", "stock"] is State.COMMITTED
        stage.orders.go.set()
        await stage.settled(4)


async def test_a_fault_is_repeated_told_and_over_when_it_is_over() -> None:
    stage = Stage()
    xid = await stage.ended("one", Outcome.ROLLBACK)
    stage.orders.bad = {xid}
    async with leading(stage):
        await eventually(lambda: stage.orders.attempts[xid] >= 5)
        told = stage.health._parts["phase two of orders"]
        assert (told.up, told.reason) == (False, Reason.DATASOURCE_UNAVAILABLE)
        assert "cannot connect" in told.message
        stage.orders.bad = set()
        await stage.settled(1)
    assert stage.health._parts["phase two of orders"].up
    retries = stage.metrics.phase_two_retries.labels("orders", Reason.DATASOURCE_UNAVAILABLE)
    assert retries._value.get() >= 4


async def test_a_commit_that_cannot_succeed_is_left_alone_by_the_others() -> None:
    stage = Stage()
    xids = [await stage.ended(f"n{number}", Outcome.COMMIT) for number in range(20)]
    stage.orders.bad = {xids[7]}
    async with leading(stage):
        await stage.settled(19)
        stage.orders.bad = set()
        await stage.settled(20)


async def test_a_report_that_got_lost_is_repeated_without_touching_the_database_again() -> None:
    stage = Stage()
    xid = await stage.ended("one", Outcome.ROLLBACK)
    stage.lost_settles = 3
    async with leading(stage):
        await stage.settled(1)
    assert stage.orders.rolled_back == [xid]


async def test_a_conflict_is_reported_once_and_ends_when_a_person_has_put_it_right() -> None:
    stage = Stage()
    xid = await stage.ended("one", Outcome.ROLLBACK)
    stage.orders.conflicts = {xid}
    async with leading(stage):
        await stage.until(lambda: State.CONFLICT in stage.states().values())
        (branch,) = stage.memory.branches.values()
        assert branch.message == "inventory 1: 5 became 6"
        await eventually(lambda: stage.orders.attempts[xid] >= 3)
        stage.orders.conflicts = set()
        await stage.settled(1)
    counted = stage.metrics.branches_settled.labels("orders", State.CONFLICT)
    assert counted._value.get() == 1


async def test_a_branch_of_a_datasource_that_is_no_more_is_told_and_holds_up_nothing() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.COMMIT, "gone", "orders")
    async with leading(stage):
        await stage.settled(1)
        assert "no policy" in stage.health._parts["phase two of gone"].message


async def test_more_branches_than_it_can_hold_are_looked_for_again() -> None:
    stage = Stage(Pace(backoff=FAST, pause=FAST, batch_max=2, waiting_max=4))
    for number in range(40):
        await stage.ended(f"n{number}", Outcome.COMMIT)
    async with leading(stage):
        await stage.settled(40)


async def test_a_leader_that_stops_leaves_its_work_to_the_next() -> None:
    stage = Stage()
    stage.orders.go.clear()
    await stage.ended("one", Outcome.ROLLBACK)
    async with leading(stage):
        await eventually(lambda: stage.orders.side_by_side > 0)
    assert stage.orders.side_by_side == 0
    stage.orders.go.set()
    async with leading(stage):
        await stage.settled(1)


def decide_for(stage: Stage, xid: Xid, *actions: Remedy) -> None:
    """What the API server does with a person's decisions: it appends them."""
    (key,) = (each for each in stage.memory.branches if each.xid == xid)
    branch = stage.memory.branches[key]
    made = tuple(
        Resolution(number, action, "so", "kim")
        for number, action in enumerate(actions, len(branch.resolutions) + 1)
    )
    stage.memory.branches[key] = replace(branch, resolutions=branch.resolutions + made)


async def in_conflict(stage: Stage) -> Xid:
    xid = await stage.ended("one", Outcome.ROLLBACK)
    stage.orders.conflicts = {xid}
    await stage.until(lambda: State.CONFLICT in stage.states().values())
    return xid


async def decided(stage: Stage, xid: Xid, *actions: Remedy) -> None:
    async with stage.memory.changed:
        decide_for(stage, xid, *actions)
        stage.memory.changed.notify_all()


async def test_a_decision_is_carried_out_at_once_and_what_became_of_it_is_told() -> None:
    stage = Stage(PATIENT)
    async with leading(stage):
        xid = await in_conflict(stage)
        await decided(stage, xid, Remedy.RETRY)
        (branch,) = stage.memory.branches.values()
        await stage.until(lambda: [each.number for each in only(stage).carried_out] == [1])
        stage.orders.conflicts = set()
        await decided(stage, xid, Remedy.KEEP)
        await stage.settled(1)
    assert stage.orders.heard == [[], [1], [1, 2]]
    assert [each.number for each in only(stage).carried_out] == [1, 2]
    assert branch.id.xid == xid


async def test_a_decision_that_comes_during_an_attempt_is_heard_right_after_it() -> None:
    stage = Stage(PATIENT)
    async with leading(stage):
        xid = await in_conflict(stage)
        stage.orders.go.clear()
        await decided(stage, xid, Remedy.RETRY)
        await eventually(lambda: stage.orders.side_by_side == 1)
        await decided(stage, xid, Remedy.RETRY)
        await asyncio.sleep(0)
        stage.orders.go.set()
        await stage.until(lambda: len(only(stage).carried_out) == 2)
    assert stage.orders.heard[-1] == [1, 2]


@pytest.mark.parametrize("lost_settles", [0, 1, 3])
async def test_a_leader_that_ends_between_a_decision_and_its_report_leaves_both_to_the_next(
    lost_settles: int,
) -> None:
    stage = Stage(PATIENT)
    async with leading(stage):
        xid = await in_conflict(stage)
    stage.orders.conflicts = set()
    decide_for(stage, xid, Remedy.KEEP)
    stage.settles = 0
    stage.lost_settles = 10**6
    async with leading(stage):
        await eventually(lambda: stage.orders.rolled_back == [xid] and stage.settles > lost_settles)
    assert only(stage).state is State.CONFLICT
    stage.lost_settles = 0
    async with leading(stage):
        await stage.settled(1)
    assert stage.orders.rolled_back == [xid, xid]  # which may be repeated


def only(stage: Stage) -> Branch:
    (branch,) = stage.memory.branches.values()
    return branch


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_the_next_work_does_not_wait_until_the_store_has_heard_of_the_last(outcome: Outcome) -> None:
    stage = Stage(replace(PACE, rollbacks_max=1, rollback_batch_max=1))
    stage.hears.clear()
    async with leading(stage):
        for number in range(3):
            await stage.ended(f"x-{number}", outcome)
            await eventually(lambda number=number: stage.orders.attempts.total() == number + 1)  # type: ignore[misc]
        assert stage.orders.attempts.most_common(1)[0][1] == 1
        stage.hears.set()
        await stage.settled(3)
