"""Many notifications at once: what each place may take up, what is written down, who goes on from where."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from globaltx.modes import notify
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode
from globaltx.transaction.notification import Notification
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.desk import Pace
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.notify.desk import CALLS_MAX
from globaltx_sidecar.notify.sender import NotSentError
from tests.sidecar.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON, LATER = timedelta(milliseconds=1), timedelta(hours=1)


class Places:
    """The receivers by their hosts: some hang, some answer 503."""

    def __init__(self) -> None:
        self.hanging: set[str] = set()
        self.failing: set[str] = set()
        self.attempts: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def place(self, url: str) -> str:
        return url.partition("/")[0]

    async def send(self, branch: Branch) -> int:
        assert branch.notification is not None
        place = self.place(branch.notification.url)
        self.attempts[f"{place} {branch.id.xid.name}"] += 1
        self.under_way[place] += 1
        self.most[place] = max(self.most[place], self.under_way[place])
        try:
            if place in self.hanging:
                await asyncio.Event().wait()
            if place in self.failing:
                message = "no answer"
                raise NotSentError(message)
        finally:
            self.under_way[place] -= 1
        return 204


class Stage:
    """A leader over a memory store in which outcomes are told to places."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.memory = Memory()
        self.lost = 0
        self.store = MemoryStore(self.memory, hook=self._hook)
        self.places = Places()
        self.metrics = Metrics()
        health = Health(self.metrics)
        self.leader = Leader(self.store, "order", {}, health, self.metrics, pace, sender=self.places)

    async def _hook(self, call: str, when: str) -> None:
        if (call, when) == ("settle", "before") and self.lost:
            self.lost -= 1
            message = "lost"
            raise StoreUnavailableError(message)

    async def tell(self, place: str, name: str, *pauses: timedelta, attempts: int = 0) -> BranchId:
        """Make a notification, as the operator does when the outcome is taken."""
        xid = Xid("shop", name)
        await self.store.begin(GlobalTransaction(xid, "order", LATER))
        await self.store.decide(xid, Decision(Outcome.COMMIT, "RequestSucceeded"))
        notification = Notification(f"{place}/outcomes", pauses, timedelta(seconds=5), "r", NOW)
        branch = BranchId(xid, "order", notify.resource_of("it"))
        made = Branch(branch, Mode.NOTIFY, Outcome.COMMIT, notification=notification, attempts=attempts)
        async with self.memory.changed:
            self.memory.branches[branch] = made
            self.memory.changed.notify_all()
        return branch

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.leader.lead(1))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.wait({task})

    def found(self, branch: BranchId) -> Branch:
        return self.memory.branches[branch]

    def counted(self, result: str) -> float:
        labels = {"result": result}
        return self.metrics.registry.get_sample_value("globaltx_sidecar_notifications_total", labels) or 0


async def test_one_that_hangs_holds_up_no_other_and_has_few_at_once() -> None:
    stage = Stage()
    stage.places.hanging.add("bad")
    async with stage.leading():
        for index in range(20):
            await stage.tell("bad", f"bad-{index}", LATER)
        good = [await stage.tell("good", f"good-{index}", LATER) for index in range(20)]
        await eventually(lambda: all(stage.found(each).settled for each in good))
    assert stage.places.most["bad"] == CALLS_MAX
    assert stage.counted("Delivered") == 20


async def test_repeats_leave_room_for_what_is_new() -> None:
    """Those that failed before hang now, and take up half at most."""
    stage = Stage()
    old = [await stage.tell("bad", f"old-{index}", SOON, LATER, attempts=1) for index in range(8)]
    stage.places.hanging.add("bad")
    async with stage.leading():
        await eventually(lambda: stage.places.under_way["bad"] == CALLS_MAX // 2)
        stage.places.hanging.clear()
        new = await stage.tell("bad", "new", LATER)
        await eventually(lambda: stage.found(new).settled)
        assert not any(stage.found(each).settled for each in old)


async def test_each_attempt_is_written_down_and_the_last_ends_it() -> None:
    stage = Stage()
    stage.places.failing.add("bad")
    async with stage.leading():
        given_up = await stage.tell("bad", "1", SOON, SOON)
        waiting = await stage.tell("bad", "2", SOON, LATER)
        await eventually(lambda: stage.found(given_up).settled and stage.found(waiting).attempts == 2)
    found = stage.found(given_up)
    assert (found.state, found.reason, found.attempts) == (State.COMMITTED, "NotificationGivenUp", 3)
    assert found.message == "given up after attempt 3 of 3: no answer"
    assert stage.found(waiting).message == "attempt 2 of 3, the next in 3600 s: no answer"
    assert stage.places.attempts == {"bad 1": 3, "bad 2": 2}
    assert (stage.counted("Failed"), stage.counted("GivenUp")) == (4, 1)


async def test_whoever_takes_over_goes_on_behind_what_is_written_down() -> None:
    """After the pause that follows the attempt; none is made anew but for one that nobody wrote down."""
    stage = Stage()
    rested = await stage.tell("good", "rested", LATER, LATER, attempts=1)
    due = await stage.tell("good", "due", LATER, SOON, attempts=2)
    async with stage.leading():
        await eventually(lambda: stage.found(due).settled)
    assert stage.found(due).attempts == 3
    assert not stage.found(rested).settled
    assert stage.places.attempts == {"good due": 1}


async def test_an_attempt_that_cannot_be_written_down_keeps_its_schedule() -> None:
    stage = Stage()
    stage.places.failing.add("bad")
    stage.lost = 1
    async with stage.leading():
        branch = await stage.tell("bad", "1", SOON, SOON)
        await eventually(lambda: stage.found(branch).settled)
    assert stage.found(branch).attempts == 3
    assert stage.places.attempts == {"bad 1": 3}


async def test_an_end_that_cannot_be_told_is_not_sent_again() -> None:
    stage = Stage()
    stage.lost = 2
    async with stage.leading():
        branch = await stage.tell("good", "1", LATER)
        await eventually(lambda: stage.found(branch).settled)
    assert stage.places.attempts == {"good 1": 1}


async def test_what_finds_no_room_stays_in_the_store_and_comes_later() -> None:
    stage = Stage(replace(Pace(), calls_max=CALLS_MAX, waiting_max=16))
    stage.places.hanging.add("bad")
    many = [await stage.tell("bad", str(index), LATER) for index in range(50)]
    async with stage.leading():
        await eventually(lambda: stage.places.under_way["bad"] == CALLS_MAX)
        waiting = {"resource": "notify bad"}
        gauge = "globaltx_sidecar_branches_waiting"
        await eventually(lambda: stage.metrics.registry.get_sample_value(gauge, waiting) == 16.0)
    stage.places.hanging.clear()  # the next leader finds them all
    async with stage.leading():
        await eventually(lambda: all(stage.found(each).settled for each in many))


async def test_without_notify_in_its_policy_a_sidecar_sends_nothing_and_says_so() -> None:
    stage = Stage()
    health = Health(stage.metrics)
    stage.leader = Leader(stage.store, "order", {}, health, stage.metrics)
    async with stage.leading():
        branch = await stage.tell("good", "1", LATER)
        await eventually(lambda: "phase two of notify:it" in str(health.detail()))
    assert not stage.found(branch).settled
