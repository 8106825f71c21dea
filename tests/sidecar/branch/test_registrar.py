from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import AlreadyDecidedError, StoreUnavailableError, UnknownTransactionError
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.model import Decision, GlobalTransaction
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch import registrar as registrar_module
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

XID = Xid("shop", "one")
COMMIT = Decision(Outcome.COMMIT, Reason.REQUEST_SUCCEEDED)


class Stage:
    """A registrar over a memory store whose calls of `join` are counted, held up or lost."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.memory = Memory()
        self.joins = 0
        self.lost = 0
        self.go = asyncio.Event()
        self.go.set()
        store = MemoryStore(self.memory, begin_wait=0.05, hook=self._hook)
        self.registrar = Registrar(store, "order", tasks, Metrics(), wait_seconds=0.2)
        self.other = MemoryStore(self.memory)

    async def _hook(self, call: str, when: str) -> None:
        if (call, when) != ("join", "before"):
            return
        self.joins += 1
        await self.go.wait()
        if self.lost:
            self.lost -= 1
            message = "lost"
            raise StoreUnavailableError(message)

    async def begin(self, xid: Xid = XID) -> None:
        await self.other.begin(GlobalTransaction(xid, "aggregation", timedelta(seconds=60)))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(tasks)


async def test_all_connections_share_one_registration(stage: Stage) -> None:
    await stage.begin()
    stage.go.clear()
    stage.registrar.start(XID, "orders")
    waiting = [asyncio.create_task(stage.registrar.joined(XID, "orders")) for _ in range(5)]
    stage.go.set()
    await asyncio.gather(*waiting)
    await stage.registrar.joined(XID, "orders")
    assert stage.joins == 1
    assert [branch.resource for branch in stage.memory.branches] == ["orders"]


async def test_each_resource_has_a_branch_of_its_own(stage: Stage) -> None:
    await stage.begin()
    await stage.registrar.joined(XID, "orders")
    await stage.registrar.joined(XID, "stock")
    assert {(each.app, each.resource) for each in stage.memory.branches} == {
        ("order", "orders"),
        ("order", "stock"),
    }


async def test_one_waiting_connection_that_goes_away_takes_nobody_with_it(stage: Stage) -> None:
    await stage.begin()
    stage.go.clear()
    first = asyncio.create_task(stage.registrar.joined(XID, "orders"))
    second = asyncio.create_task(stage.registrar.joined(XID, "orders"))
    await asyncio.sleep(0)
    first.cancel()
    stage.go.set()
    await second
    assert first.cancelled()
    assert stage.joins == 1


async def test_a_branch_that_comes_too_late_is_refused_with_the_decision(stage: Stage) -> None:
    await stage.begin()
    await stage.other.decide(XID, COMMIT)
    with pytest.raises(AlreadyDecidedError) as refused:
        await stage.registrar.joined(XID, "orders")
    assert refused.value.decision.outcome is Outcome.COMMIT


async def test_an_unknown_transaction_is_refused_and_asked_for_again_only_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with pytest.raises(UnknownTransactionError):
            await stage.registrar.joined(XID, "orders")
    assert stage.joins == 1
    monkeypatch.setattr(registrar_module, "KEEP_REFUSED_SECONDS", 0.0)
    stage.registrar._known.clear()
    with pytest.raises(UnknownTransactionError):
        await stage.registrar.joined(XID, "orders")
    await stage.begin()
    await stage.registrar.joined(XID, "orders")


async def test_lost_calls_are_repeated(stage: Stage) -> None:
    await stage.begin()
    stage.lost = 2
    await stage.registrar.joined(XID, "orders")
    assert stage.joins == 3


async def test_a_store_that_is_away_is_told_and_tried_again_at_the_next_use(stage: Stage) -> None:
    await stage.begin()
    stage.lost = 1_000_000
    with pytest.raises(StoreUnavailableError):
        await stage.registrar.joined(XID, "orders")
    stage.lost = 0
    await stage.registrar.joined(XID, "orders")


async def test_a_registration_that_gave_up_meanwhile_is_tried_once_more_at_the_commit(stage: Stage) -> None:
    await stage.begin()
    stage.go.clear()
    stage.registrar.start(XID, "orders")
    (registration,) = stage.registrar._known.values()
    committing = asyncio.create_task(stage.registrar.joined(XID, "orders"))
    await registration.task  # gave up after `wait_seconds`
    stage.go.set()
    await committing


async def test_what_is_remembered_is_bounded_and_expires(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrar_module, "KNOWN_MAX", 8)
    for number in range(30):
        xid = Xid("shop", f"n{number}")
        await stage.begin(xid)
        await stage.registrar.joined(xid, "orders")
        assert len(stage.registrar._known) <= 8
    monkeypatch.setattr(registrar_module, "KEEP_SECONDS", 0.0)
    await stage.begin()
    await stage.registrar.joined(XID, "orders")
    joins = stage.joins
    await stage.registrar.joined(XID, "orders")
    assert stage.joins == joins + 1


async def test_what_has_expired_is_let_go_of_when_others_come(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished task of each for thousands of transactions was 10 MiB and more."""
    monkeypatch.setattr(registrar_module, "KEEP_SECONDS", 0.0)
    for number in range(30):
        xid = Xid("shop", f"n{number}")
        await stage.begin(xid)
        await stage.registrar.joined(xid, "orders")
        assert len(stage.registrar._known) == 1


async def test_an_outcome_is_looked_up(stage: Stage) -> None:
    with pytest.raises(UnknownTransactionError):
        await stage.registrar.outcome(XID)
    await stage.begin()
    assert await stage.registrar.outcome(XID) is None
    await stage.other.decide(XID, COMMIT)
    decision = await stage.registrar.outcome(XID)
    assert decision is not None
    assert decision.outcome is Outcome.COMMIT


async def test_a_bug_of_the_store_harms_only_who_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(stage.registrar._store, "_join", broken)
    await stage.begin()
    with pytest.raises(Exception, match="KeyError"):
        await stage.registrar.joined(XID, "orders")
