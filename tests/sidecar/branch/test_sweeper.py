from __future__ import annotations

from datetime import timedelta

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.model import GlobalTransaction
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.sweeper import Sweeper
from tests.sidecar.branch.test_leader import Stage


async def test_records_that_came_after_their_outcome_follow_it() -> None:
    stage = Stage()
    one = await stage.ended("one", Outcome.COMMIT)
    two = await stage.ended("two", Outcome.ROLLBACK)
    three = Xid("shop", "three")
    await stage.client.begin(GlobalTransaction(three, "aggregation", timedelta(seconds=60)))
    stage.orders.left_over = [one, two, three]
    await Sweeper("orders", stage.orders, stage.store, stage.health).sweep()
    assert stage.orders.swept == 1
    assert stage.orders.committed == [[one]]
    assert stage.orders.rolled_back == [two]
    assert stage.orders.attempts[three] == 0
    assert stage.health._parts["leftovers in orders"].up


async def test_what_no_store_knows_is_told_and_left_alone() -> None:
    stage = Stage()
    stage.orders.left_over = [Xid("shop", "lost")]
    await Sweeper("orders", stage.orders, stage.store, stage.health).sweep()
    part = stage.health._parts["leftovers in orders"]
    assert part.reason == Reason.UNKNOWN_TRANSACTION
    assert "shop.lost" in part.message
    assert not stage.orders.attempts
