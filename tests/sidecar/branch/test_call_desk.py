"""Confirms and cancels by a real leader over a memory store; only the application is played."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.calls import Calls, Request, Reservation, Step
from globaltx.transaction.conflict import Remedy, Resolution
from globaltx.transaction.model import Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.allowance import Allowance
from globaltx_sidecar.branch.call_desk import BYTES_WEIGHT, CallFailedError
from globaltx_sidecar.branch.desk import Pace
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics
from tests.sidecar.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from globaltx.modes.tcc import Call
    from globaltx.transaction.model import Branch, BranchId

FAST = Backoff(first=0.001, most=0.01)
PACE = Pace(backoff=FAST, pause=FAST, turn=FAST, conflict_seconds=0.01, calls_max=4)


class Application:
    """Answers each call as it was told to for that branch; 200 if nothing was said, never if None was."""

    def __init__(self) -> None:
        self.answers: dict[str, list[int | Exception | None]] = {}
        self.calls: list[tuple[str, str, int]] = []
        self.side_by_side = Counter[str]()
        self.side_by_side_max = Counter[str]()
        self.held: dict[str, asyncio.Event] = {}

    async def call(self, branch: BranchId, call: Call, attempt: int) -> int:
        self.calls.append((branch.xid.name, f"{call.operation} {call.path}", attempt))
        route = tcc.route_of(branch)
        self.side_by_side[route] += 1
        self.side_by_side_max |= self.side_by_side
        try:
            script = self.answers.get(branch.xid.name, [])
            answer = 200 if not script else script[0] if len(script) == 1 else script.pop(0)
            if answer is None:
                await self.held.setdefault(branch.xid.name, asyncio.Event()).wait()
            if isinstance(answer, Exception):
                raise answer
            return answer or 200
        finally:
            self.side_by_side[route] -= 1

    def of(self, name: str) -> list[tuple[str, int]]:
        return [(what, attempt) for xid, what, attempt in self.calls if xid == name]


class Stage:
    def __init__(self, pace: Pace = PACE) -> None:
        self._pace = pace
        self.memory = Memory()
        self.store = MemoryStore(self.memory)
        self.application = Application()
        self.metrics = Metrics()
        self.health = Health(self.metrics)

    def leader(self) -> Leader:
        return Leader(self.store, "bank", {}, self.health, self.metrics, self._pace, caller=self.application)

    async def ended(
        self,
        name: str,
        outcome: Outcome,
        *,
        route: str = "debit",
        started: bool = True,
        refusals: int = 3,
        body: bytes = b"",
        mode: Mode = Mode.TCC,
    ) -> None:
        """A transaction with a try, and its outcome."""
        xid = Xid("shop", name)
        await self.store.begin(GlobalTransaction(xid, "web", timedelta(seconds=60)))
        branch = tcc.branch_id(xid, "bank", route, "")
        calls = Calls("/confirm", "/cancel", Request(body=body), refusals_max=refusals)
        if mode is Mode.TCD:
            reservation = Reservation(timedelta(seconds=60), "/state")
            calls = replace(calls, on_rollback="", reservation=reservation)
        await self.store.join(branch, mode, calls)
        if started:
            await self.store.start(branch)
        await self.store.decide(xid, Decision(outcome, Reason.REQUEST_FAILED))

    async def decide(self, name: str, action: Remedy) -> None:
        """What the API server does with a person's decision: it appends it."""
        async with self.memory.changed:
            branch = self.branch(name)
            made = Resolution(len(branch.resolutions) + 1, action, "so", "kim")
            self.memory.branches[branch.id] = replace(branch, resolutions=(*branch.resolutions, made))
            self.memory.changed.notify_all()

    def branch(self, name: str) -> Branch:
        return next(each for each in self.memory.branches.values() if each.id.xid.name == name)

    def step(self, name: str, route: str) -> Branch:
        return self.memory.branches[tcc.branch_id(Xid("shop", name), "bank", route, "")]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.memory.changed:
            await self.memory.changed.wait_for(holds)

    async def ends(self, name: str, state: State) -> None:
        await self.until(lambda: self.branch(name).state is state)


@asynccontextmanager
async def leading(stage: Stage) -> AsyncIterator[None]:
    task = asyncio.create_task(stage.leader().lead(1))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_outcome_makes_its_call() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.COMMIT)
    await stage.ended("two", Outcome.ROLLBACK)
    async with leading(stage):
        await stage.ends("one", State.COMMITTED)
        await stage.ends("two", State.ROLLED_BACK)
    assert stage.application.of("one") == [("confirm /confirm", 1)]
    assert stage.application.of("two") == [("cancel /cancel", 1)]


async def test_what_was_never_let_through_is_not_called() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.ROLLBACK, started=False)
    await stage.ended("two", Outcome.COMMIT, started=False)
    async with leading(stage):
        await stage.ends("one", State.ROLLED_BACK)
        await stage.ends("two", State.COMMITTED)
    assert stage.application.calls == []


async def test_a_call_is_repeated_until_it_is_done() -> None:
    stage = Stage()
    lost = CallFailedError("no answer", Reason.APPLICATION_UNAVAILABLE)
    stage.application.answers["one"] = [500, lost, 503, 404, 500, 404, 404, 200]
    await stage.ended("one", Outcome.COMMIT)
    async with leading(stage):
        await stage.ends("one", State.COMMITTED)
        await eventually(lambda: stage.health._parts["phase two of debit"].up)
    assert stage.application.of("one") == [("confirm /confirm", attempt) for attempt in range(1, 9)]


async def test_refused_for_ever_is_a_conflict_and_is_never_dropped() -> None:
    stage = Stage()
    stage.application.answers["one"] = [404]
    await stage.ended("one", Outcome.COMMIT)
    async with leading(stage):
        await stage.ends("one", State.CONFLICT)
        assert len(stage.application.calls) == 3
        branch = stage.branch("one")
        assert (branch.reason, "404" in branch.message) == (Reason.CALL_REFUSED, True)
        await eventually(lambda: len(stage.application.calls) > 6)
        assert stage.branch("one") == branch  # nothing new to write
        stage.application.answers["one"] = [200]
        await stage.ends("one", State.COMMITTED)


async def test_a_confirm_that_came_too_late_is_a_conflict_at_once_and_is_tried_again() -> None:
    stage = Stage()
    stage.application.answers["one"] = [503, 410]
    await stage.ended("one", Outcome.COMMIT, mode=Mode.TCD)
    async with leading(stage):
        await stage.ends("one", State.CONFLICT)
        assert len(stage.application.calls) == 2
        assert stage.branch("one").reason == Reason.RESERVATION_EXPIRED
        stage.application.answers["one"] = [200]
        await stage.ends("one", State.COMMITTED)


async def test_what_runs_out_by_itself_is_not_cancelled() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.ROLLBACK, mode=Mode.TCD)
    async with leading(stage):
        await stage.ends("one", State.ROLLED_BACK)
    assert stage.application.calls == []
    assert stage.branch("one").message == "what was reserved runs out by itself"


async def saga_of(stage: Stage, name: str, places: dict[str, int]) -> None:
    """A transaction with steps, all let through, those with a place answered; and Rollback."""
    xid = Xid("shop", name)
    await stage.store.begin(GlobalTransaction(xid, "web", timedelta(seconds=60)))
    for route, place in places.items():
        branch = tcc.branch_id(xid, "bank", route, "")
        calls = Calls("", f"/{route}", step=Step(route), refusals_max=1)
        await stage.store.join(branch, Mode.SAGA, calls)
        await stage.store.start(branch)
        if place:
            await stage.store.complete(branch)
    await stage.store.decide(xid, Decision(Outcome.ROLLBACK, Reason.REQUEST_FAILED))


def all_end(stage: Stage, name: str) -> Callable[[], bool]:
    return lambda: all(each.settled for each in stage.memory.branches.values() if each.id.xid.name == name)


async def test_steps_are_compensated_in_reverse_of_their_completion() -> None:
    stage = Stage()
    await saga_of(stage, "trip", {"flight": 1, "hotel": 2, "car": 3, "payment": 0})
    async with leading(stage):
        await stage.until(all_end(stage, "trip"))
    assert [what for what, _ in stage.application.of("trip")] == [
        "compensate /payment",
        "compensate /car",
        "compensate /hotel",
        "compensate /flight",
    ]


async def test_a_step_in_conflict_holds_back_those_before_it_and_no_other_saga() -> None:
    stage = Stage()
    stage.application.answers["trip"] = [404]
    await saga_of(stage, "trip", {"flight": 1, "hotel": 2})
    await saga_of(stage, "other", {"flight": 1, "hotel": 2})
    async with leading(stage):
        await stage.until(all_end(stage, "other"))
        await stage.until(lambda: stage.step("trip", "hotel").state is State.CONFLICT)
        assert {what for what, _ in stage.application.of("trip")} == {"compensate /hotel"}
        stage.application.answers["trip"] = [200]
        await stage.until(all_end(stage, "trip"))
    assert stage.application.of("trip")[-1] == ("compensate /flight", 1)


async def test_steps_are_not_called_on_commit() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.COMMIT, mode=Mode.SAGA)
    async with leading(stage):
        await stage.ends("one", State.COMMITTED)
    assert stage.application.calls == []


async def test_a_person_has_a_refused_call_made_again_once_or_lets_it_be() -> None:
    stage = Stage(replace(PACE, conflict_seconds=3600))
    stage.application.answers["one"] = [409]
    await stage.ended("one", Outcome.COMMIT)
    async with leading(stage):
        await eventually(lambda: stage.branch("one").state is State.CONFLICT)
        assert len(stage.application.calls) == 3
        await stage.decide("one", Remedy.RETRY)
        await eventually(lambda: [each.number for each in stage.branch("one").carried_out] == [1])
        assert len(stage.application.calls) == 4
        await stage.decide("one", Remedy.KEEP)
        await eventually(lambda: stage.branch("one").settled)
    assert len(stage.application.calls) == 4
    branch = stage.branch("one")
    assert (branch.state, branch.reason) == (State.COMMITTED, "ResolvedByPerson")
    assert branch.message == "#2 Keep by kim: so"


async def test_a_fault_without_end_is_no_conflict_and_is_told() -> None:
    stage = Stage()
    stage.application.answers["one"] = [500]
    await stage.ended("one", Outcome.ROLLBACK)
    async with leading(stage):
        await eventually(lambda: len(stage.application.calls) > 8)
        assert stage.branch("one").state is State.ACTIVE
        part = stage.health._parts["phase two of debit"]
        assert (part.up, part.reason) == (False, Reason.CALL_FAILED)
        assert "answered status 500" in part.message


async def test_branches_that_hang_or_fail_hold_up_no_other() -> None:
    stage = Stage()
    stage.application.answers["hangs"] = [None]
    await stage.ended("hangs", Outcome.COMMIT)
    for number in range(50):
        stage.application.answers[f"fails{number}"] = [500, None]  # and hangs when it is called again
        await stage.ended(f"fails{number}", Outcome.COMMIT)
    async with leading(stage):
        await eventually(lambda: sum(attempt > 1 for _, _, attempt in stage.application.calls) > 1)
        for number in range(20):
            await stage.ended(f"good{number}", Outcome.COMMIT)
        for number in range(20):
            await stage.ends(f"good{number}", State.COMMITTED)
    assert stage.application.side_by_side_max["debit"] <= PACE.calls_max


async def test_what_failed_is_called_again_however_much_comes_anew() -> None:
    stage = Stage(replace(PACE, backoff=Backoff(first=0.001, most=0.001)))
    application, new = stage.application, [f"new{number}" for number in range(20)]
    application.answers["failed"] = [503]
    application.answers.update((name, [None]) for name in new)
    application.held |= {name: asyncio.Event() for name in new}
    await stage.ended("failed", Outcome.COMMIT)
    async with leading(stage):
        await eventually(lambda: bool(application.of("failed")))
        for name in new:
            await stage.ended(name, Outcome.COMMIT)
        await eventually(lambda: application.side_by_side["debit"] >= PACE.calls_max - 1)
        before = len(application.of("failed"))
        for name in new[:10]:
            application.held[name].set()
            await stage.ends(name, State.COMMITTED)
            await eventually(lambda: application.side_by_side["debit"] >= PACE.calls_max - 1)
        assert len(application.of("failed")) > before
        assert not application.of(new[-1])


async def test_a_route_that_hangs_altogether_holds_up_no_other_route() -> None:
    stage = Stage()
    for number in range(3 * PACE.calls_max):
        stage.application.answers[f"hangs{number}"] = [None]
        await stage.ended(f"hangs{number}", Outcome.ROLLBACK, route="credit")
    async with leading(stage):
        await eventually(lambda: stage.application.side_by_side["credit"] == PACE.calls_max)
        await stage.ended("good", Outcome.ROLLBACK)
        await stage.ends("good", State.ROLLED_BACK)


async def test_large_requests_that_find_no_room_are_looked_for_again() -> None:
    stage = Stage(Pace(backoff=FAST, pause=FAST, waiting_max=40))
    stage.application.answers["n0"] = [*[500] * 20, 200]
    for number in range(12):
        await stage.ended(f"n{number}", Outcome.COMMIT, body=b"x" * (8 * BYTES_WEIGHT))
    async with leading(stage):
        for number in range(12):
            await stage.ends(f"n{number}", State.COMMITTED)


async def test_another_leader_begins_its_own_count_of_attempts() -> None:
    stage = Stage()
    stage.application.answers["one"] = [None]
    await stage.ended("one", Outcome.COMMIT)
    async with leading(stage):
        await eventually(lambda: bool(stage.application.calls))
    stage.application.answers["one"] = [200]
    async with leading(stage):
        await stage.ends("one", State.COMMITTED)
    assert stage.application.of("one") == [("confirm /confirm", 1)] * 2


async def test_a_sidecar_without_http_tells_what_it_cannot_carry_out() -> None:
    stage = Stage()
    await stage.ended("one", Outcome.COMMIT)
    leader = Leader(stage.store, "bank", {}, stage.health, stage.metrics, PACE)
    task = asyncio.create_task(leader.lead(1))
    part = f"phase two of {stage.branch('one').id.resource}"
    await eventually(lambda: part in stage.health._parts)
    assert stage.health._parts[part].reason == Reason.APPLICATION_UNAVAILABLE
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_budget_lets_so_many_a_second_through_and_saves_no_more() -> None:
    budget = Allowance(5, 5)
    assert [budget.take(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert [budget.take(100.5) for _ in range(3)] == [True, True, False]
    assert [budget.take(200.0) for _ in range(6)] == [True] * 5 + [False]
