from __future__ import annotations

from datetime import timedelta

from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import StoreRefusedError
from globaltx.stores.memory import MemoryStore
from globaltx.transaction.model import BranchId, GlobalTransaction, Settlement, Snapshot
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.sweeper import LEFT_SECONDS, Sweeper
from tests.sidecar.branch.test_leader import Stage


async def settled(stage: Stage, name: str, outcome: Outcome) -> Xid:
    xid = await stage.ended(name, outcome)
    end = State.COMMITTED if outcome is Outcome.COMMIT else State.ROLLED_BACK
    await stage.client.settle(BranchId(xid, "order", "orders"), Settlement(end, Reason(end)))
    return xid


async def test_records_that_came_after_their_outcome_follow_it() -> None:
    stage = Stage()
    one = await settled(stage, "one", Outcome.COMMIT)
    two = await settled(stage, "two", Outcome.ROLLBACK)
    three = Xid("shop", "three")
    await stage.client.begin(GlobalTransaction(three, "aggregation", timedelta(seconds=60)))
    stage.orders.left_over = [one, two, three]
    await Sweeper("orders", stage.orders, stage.store, stage.health).sweep()
    assert stage.orders.swept == 1
    assert stage.orders.committed == [[one]]
    assert stage.orders.rolled_back == [two]
    assert stage.orders.attempts[three] == 0
    assert stage.orders.asked_older_than == LEFT_SECONDS <= 60
    assert stage.health._parts["leftovers in orders"].up


async def test_what_no_store_knows_is_told_and_left_alone() -> None:
    stage = Stage()
    stage.orders.left_over = [Xid("shop", "lost")]
    await Sweeper("orders", stage.orders, stage.store, stage.health).sweep()
    part = stage.health._parts["leftovers in orders"]
    assert part.reason == Reason.UNKNOWN_TRANSACTION
    assert "shop.lost" in part.message
    assert not stage.orders.attempts


async def test_a_branch_that_waits_for_phase_two_is_left_to_it() -> None:
    stage = Stage()
    waiting = await stage.ended("waiting", Outcome.ROLLBACK)
    stage.orders.left_over = [waiting]
    await Sweeper("orders", stage.orders, stage.store, stage.health).sweep()
    assert not stage.orders.attempts
    assert stage.health._parts["leftovers in orders"].up


async def test_fences_are_swept_more_seldom_than_records() -> None:
    stage = Stage()
    sweeper = Sweeper("orders", stage.orders, stage.store, stage.health)
    await sweeper.sweep()
    stage.orders.left_over = [await settled(stage, "late", Outcome.COMMIT)]
    await sweeper.sweep()
    assert (stage.orders.swept, stage.orders.committed) == (1, [stage.orders.left_over])


async def test_one_that_the_store_refuses_to_tell_of_holds_up_no_other() -> None:
    stage = Stage()
    late = await settled(stage, "late", Outcome.COMMIT)
    elsewhere = Xid("elsewhere", "one")
    stage.orders.left_over = [elsewhere, late]

    class Store(MemoryStore):
        async def read(self, xid: Xid) -> Snapshot:
            if xid == elsewhere:
                message = "forbidden"
                raise StoreRefusedError(message)
            return await super().read(xid)

    await Sweeper("orders", stage.orders, Store(stage.memory), stage.health).sweep()
    assert stage.orders.committed == [[late]]
    assert "elsewhere.one" in stage.health._parts["leftovers in orders"].message
