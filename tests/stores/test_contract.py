"""What each call of a store promises, on every implementation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.base import (
    AlreadyDecidedError,
    StoreRefusedError,
    UnknownTransactionError,
    XidTakenError,
)
from globaltx.transaction.calls import Calls, Order, Request, Reservation, Step
from globaltx.transaction.model import Mode
from globaltx.transaction.states import Outcome, State
from tests.stores.harness import (
    COMMIT,
    CONFLICT,
    ENDED,
    ROLLBACK,
    any_xid,
    branch,
    first,
    transaction,
)

if TYPE_CHECKING:
    from globaltx.transaction.xid import Xid
    from tests.stores.harness import Harness


async def begun(harness: Harness, *apps: str) -> Xid:
    xid = any_xid(harness.namespace)
    await harness.client().begin(transaction(xid))
    for app in apps:
        await harness.client().join(branch(xid, app), Mode.AT)
    return xid


async def decided(harness: Harness, outcome: Outcome, *apps: str) -> Xid:
    xid = await begun(harness, *apps)
    await harness.client().decide(xid, COMMIT if outcome is Outcome.COMMIT else ROLLBACK)
    await harness.stamp(xid)
    return xid


async def test_begin_makes_a_transaction_durable_and_undecided(harness: Harness) -> None:
    xid = any_xid(harness.namespace)
    await harness.client().begin(transaction(xid, policy="orders"))
    found = (await harness.client().read(xid)).transaction
    assert (found.xid, found.initiator, found.policy) == (xid, "shop", "orders")
    assert (found.decision, found.state) == (None, State.ACTIVE)
    assert found.begun_at is not None
    assert found.deadline == found.begun_at + found.timeout


async def test_begin_may_be_repeated_by_its_initiator_only(harness: Harness) -> None:
    xid = await begun(harness, "shop")
    before = await harness.client().read(xid)
    await harness.client().begin(transaction(xid))
    assert await harness.client().read(xid) == before
    with pytest.raises(XidTakenError, match="shop"):
        await harness.client().begin(transaction(xid, initiator="stock"))


async def test_a_request_s_begin_may_be_repeated_by_that_request_only(harness: Harness) -> None:
    xid = any_xid(harness.namespace)
    first = replace(transaction(xid), begun_by="shop-1/a")
    await harness.client().begin(first)
    await harness.client().begin(first)
    assert (await harness.client().read(xid)).transaction.begun_by == "shop-1/a"
    for other in ("shop-2/b", ""):
        with pytest.raises(XidTakenError, match="shop"):
            await harness.client().begin(replace(first, begun_by=other))


async def test_begin_repeated_does_not_take_the_outcome_back(harness: Harness) -> None:
    xid = await decided(harness, Outcome.ROLLBACK)
    await harness.client().begin(transaction(xid))
    decision = (await harness.client().read(xid)).transaction.decision
    assert decision is not None
    assert decision.outcome is Outcome.ROLLBACK


async def test_join_registers_a_branch_once(harness: Harness) -> None:
    xid = await begun(harness)
    for _ in range(2):
        await harness.client().join(branch(xid), Mode.AT)
    await harness.client().join(branch(xid, resource="stock"), Mode.TCC)
    found = (await harness.client().read(xid)).branches
    assert [(each.id, each.mode, each.outcome) for each in found] == [
        (branch(xid), Mode.AT, None),
        (branch(xid, resource="stock"), Mode.TCC, None),
    ]


CALLS = Calls(
    on_commit="/accounts/7/confirm",
    on_rollback="/accounts/7/cancel",
    request=Request("PUT", "a=1&b=%20", (("content-type", "text/plain"),), bytes(range(256))),
    timeout=timedelta(seconds=3),
    success_statuses=frozenset({200, 409}),
    refusals_max=4,
    guarded=False,
    by="shop-1/a",
    reservation=Reservation(timedelta(seconds=60), "/state", timedelta(seconds=5), frozenset({410, 5})),
)


async def test_join_keeps_the_calls_of_a_branch_byte_for_byte(harness: Harness) -> None:
    xid = await begun(harness)
    stands = await harness.client().join(branch(xid, resource="debit.1"), Mode.TCC, CALLS)
    (found,) = (await harness.client().read(xid)).branches
    assert (stands.calls, found.calls, found.started) == (CALLS, CALLS, False)


async def test_of_two_that_join_one_branch_both_get_the_calls_of_the_first(harness: Harness) -> None:
    xid = await begun(harness)
    for by in ("shop-1/a", "shop-2/b"):
        stands = await harness.client().join(branch(xid), Mode.TCC, replace(CALLS, by=by))
        assert stands.calls == CALLS


async def test_a_watch_yields_the_calls_and_whether_the_work_was_let_through(harness: Harness) -> None:
    xid = await begun(harness)
    for resource in ("debit.1", "debit.2"):
        await harness.client().join(branch(xid, resource=resource), Mode.TCC, CALLS)
    await harness.client().start(branch(xid, resource="debit.2"))
    await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    seen = await first(harness.client(), "shop", 2)
    assert sorted((each.id.resource, each.calls, each.started) for each in seen) == [
        ("debit.1", CALLS, False),
        ("debit.2", CALLS, True),
    ]


async def test_what_joins_as_started_is_seen_to_be_what_it_is_told_to_be(harness: Harness) -> None:
    xid = await begun(harness)
    stands = await harness.client().join(branch(xid), Mode.TCC, CALLS, started=True)
    (found,) = (await harness.client().read(xid)).branches
    assert found.started is stands.started
    if not stands.started:
        await harness.client().start(branch(xid))
    again = await harness.client().join(branch(xid), Mode.TCC, replace(CALLS, by="shop-2/b"), started=True)
    assert (again.calls, again.started) == (CALLS, True)


async def test_a_branch_that_stands_is_not_started_by_another_that_joins(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().join(branch(xid), Mode.TCC, CALLS)
    again = await harness.client().join(branch(xid), Mode.TCC, replace(CALLS, by="shop-2/b"), started=True)
    (found,) = (await harness.client().read(xid)).branches
    assert (again.calls, again.started, found.started) == (CALLS, False, False)


async def test_what_joins_as_started_after_the_outcome_leaves_nothing_behind(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().decide(xid, ROLLBACK)
    with pytest.raises(AlreadyDecidedError):
        await harness.client().join(branch(xid), Mode.TCC, CALLS, started=True)
    assert (await harness.client().read(xid)).branches == ()


async def test_start_is_repeated_at_will_until_the_branch_was_told(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().join(branch(xid), Mode.TCC, CALLS)
    for _ in range(2):
        await harness.client().start(branch(xid))
    await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    with pytest.raises(AlreadyDecidedError):
        await harness.client().start(branch(xid))
    (found,) = (await harness.client().read(xid)).branches
    assert (found.started, found.outcome) == (True, Outcome.ROLLBACK)


async def test_start_comes_too_late_once_the_branch_was_told(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().join(branch(xid), Mode.TCC, CALLS)
    await harness.client().decide(xid, COMMIT)
    await harness.stamp(xid)
    with pytest.raises(AlreadyDecidedError):
        await harness.client().start(branch(xid))
    (found,) = (await harness.client().read(xid)).branches
    assert not found.started


async def test_steps_are_noted_as_done_each_above_those_before(harness: Harness) -> None:
    xid = await begun(harness)
    calls = replace(CALLS, on_commit="", step=Step("debit", Order.DEPENDENCIES, ("hold", "look")))
    apps = ("shop", "flight", "hotel", "never")
    for app in apps:
        await harness.client().join(branch(xid, app), Mode.SAGA, calls)
    for app in ("hotel", "shop", "flight"):
        await harness.client().complete(branch(xid, app))
    found = {each.id.app: each for each in (await harness.client().read(xid)).branches}
    assert [found[app].completed for app in apps] == [2, 3, 1, 0]
    await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    (seen,) = await first(harness.client(), "shop", 1)
    assert (seen.calls, seen.completed, found["shop"].calls) == (calls, 2, calls)


async def test_a_step_that_is_noted_once_more_stays_before_those_behind_it(harness: Harness) -> None:
    """They may have been built on it, and are compensated first."""
    xid = await begun(harness)
    for app in ("flight", "shop"):
        await harness.client().join(branch(xid, app), Mode.SAGA, CALLS)
        await harness.client().complete(branch(xid, app))
    await harness.client().complete(branch(xid, "flight"))
    flight, shop = (await harness.client().read(xid)).branches
    assert 0 < flight.completed < shop.completed


async def test_a_step_that_is_noted_once_more_stays_behind_those_before(harness: Harness) -> None:
    xid = await begun(harness)
    for app in ("shop", "flight"):
        await harness.client().join(branch(xid, app), Mode.SAGA, CALLS)
        await harness.client().complete(branch(xid, app))
    await harness.client().complete(branch(xid, "flight"))
    flight, shop = (await harness.client().read(xid)).branches
    assert 0 < shop.completed < flight.completed


async def test_the_order_of_steps_stands_once_the_branch_was_told(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().join(branch(xid), Mode.SAGA, CALLS)
    await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    with pytest.raises(AlreadyDecidedError):
        await harness.client().complete(branch(xid))
    (found,) = (await harness.client().read(xid)).branches
    assert not found.completed


async def test_completing_what_never_joined_is_told(harness: Harness) -> None:
    xid = await begun(harness)
    with pytest.raises(UnknownTransactionError):
        await harness.client().complete(branch(xid))


async def test_start_of_what_never_joined_is_told(harness: Harness) -> None:
    xid = await begun(harness)
    with pytest.raises(UnknownTransactionError):
        await harness.client().start(branch(xid))


async def test_join_of_an_unknown_xid_leaves_nothing_behind(harness: Harness) -> None:
    xid = any_xid(harness.namespace)
    with pytest.raises(UnknownTransactionError):
        await harness.client().join(branch(xid), Mode.AT)
    await harness.client().begin(transaction(xid))
    assert (await harness.client().read(xid)).branches == ()


async def test_join_waits_for_a_begin_on_its_way(harness: Harness) -> None:
    xid = any_xid(harness.namespace)
    asked = asyncio.Event()

    async def hook(_call: str, _when: str) -> None:
        asked.set()

    joining = asyncio.create_task(harness.client(hook, begin_wait=30).join(branch(xid), Mode.AT))
    await asked.wait()
    assert not joining.done()
    await harness.client().begin(transaction(xid))
    await joining
    assert len((await harness.client().read(xid)).branches) == 1


@pytest.mark.parametrize("decision", [COMMIT, ROLLBACK])
async def test_join_is_refused_once_the_outcome_is_taken(harness: Harness, decision: object) -> None:
    outcome = Outcome.COMMIT if decision is COMMIT else Outcome.ROLLBACK
    xid = await decided(harness, outcome, "shop")
    with pytest.raises(AlreadyDecidedError) as refused:
        await harness.client().join(branch(xid, "stock"), Mode.AT)
    assert refused.value.decision.outcome is outcome
    assert [each.id.app for each in (await harness.client().read(xid)).branches] == ["shop"]


async def test_join_repeated_after_the_outcome_is_refused_too(harness: Harness) -> None:
    xid = await decided(harness, Outcome.COMMIT, "shop")
    with pytest.raises(AlreadyDecidedError):
        await harness.client().join(branch(xid, "shop"), Mode.AT)
    assert len((await harness.client().read(xid)).branches) == 1


async def test_decide_takes_the_outcome_once(harness: Harness) -> None:
    xid = await begun(harness)
    stands = await harness.client().decide(xid, COMMIT)
    assert (stands.outcome, stands.reason, stands.message, stands.by) == (
        COMMIT.outcome,
        COMMIT.reason,
        COMMIT.message,
        COMMIT.by,
    )
    for late in (ROLLBACK, COMMIT, ROLLBACK):
        assert (await harness.client().decide(xid, late)).reason == COMMIT.reason
    found = (await harness.client().read(xid)).transaction.decision
    assert found is not None
    assert (found.outcome, found.reason, found.by) == (COMMIT.outcome, COMMIT.reason, COMMIT.by)


async def test_the_same_outcome_for_another_reason_changes_nothing(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().decide(xid, ROLLBACK)
    again = type(ROLLBACK)(Outcome.ROLLBACK, "DeadlineExceeded", "too late", "operator")
    assert (await harness.client().decide(xid, again)).reason == ROLLBACK.reason


async def test_decide_of_an_unknown_xid_is_reported(harness: Harness) -> None:
    with pytest.raises(UnknownTransactionError):
        await harness.client().decide(any_xid(harness.namespace), COMMIT)


@pytest.mark.parametrize("outcome", Outcome)
async def test_settle_ends_a_branch_for_good(harness: Harness, outcome: Outcome) -> None:
    xid = await decided(harness, outcome, "shop")
    for _ in range(2):
        await harness.client().settle(branch(xid), ENDED[outcome])
    await harness.client().settle(branch(xid), CONFLICT)  # a report that comes too late
    (found,) = (await harness.client().read(xid)).branches
    assert (found.state, found.settled, found.outcome) == (ENDED[outcome].state, True, outcome)


async def test_settle_refuses_an_end_that_is_not_the_outcome(harness: Harness) -> None:
    undecided = await begun(harness, "shop")
    with pytest.raises(StoreRefusedError):
        await harness.client().settle(branch(undecided), ENDED[Outcome.COMMIT])
    xid = await decided(harness, Outcome.COMMIT, "shop")
    with pytest.raises(StoreRefusedError):
        await harness.client().settle(branch(xid), ENDED[Outcome.ROLLBACK])
    assert [each.state for each in (await harness.client().read(xid)).branches] == [State.ACTIVE]


async def test_a_conflict_stands_in_plain_sight_until_it_is_settled(harness: Harness) -> None:
    xid = await decided(harness, Outcome.ROLLBACK, "shop")
    await harness.client().settle(branch(xid), CONFLICT)
    (found,) = (await harness.client().read(xid)).branches
    assert (found.state, found.reason, found.message) == (CONFLICT.state, CONFLICT.reason, CONFLICT.message)
    assert not found.settled
    await harness.client().settle(branch(xid), ENDED[Outcome.ROLLBACK])
    (found,) = (await harness.client().read(xid)).branches
    assert found.settled


async def test_settle_of_a_forgotten_branch_is_no_error(harness: Harness) -> None:
    await harness.client().settle(branch(any_xid(harness.namespace)), ENDED[Outcome.COMMIT])


async def test_read_of_an_unknown_xid_is_reported(harness: Harness) -> None:
    xid = any_xid(harness.namespace)
    with pytest.raises(UnknownTransactionError, match=str(xid)):
        await harness.client().read(xid)


async def test_forget_removes_what_is_settled(harness: Harness) -> None:
    xid = await decided(harness, Outcome.COMMIT, "shop", "stock")
    for app in ("shop", "stock"):
        await harness.client().settle(branch(xid, app), ENDED[Outcome.COMMIT])
    for _ in range(2):
        await harness.client().forget(xid)
    with pytest.raises(UnknownTransactionError):
        await harness.client().read(xid)
    with pytest.raises(UnknownTransactionError):
        await harness.client().join(branch(xid), Mode.AT)


async def test_forget_refuses_what_is_not_settled(harness: Harness) -> None:
    undecided = await begun(harness)
    with pytest.raises(StoreRefusedError):
        await harness.client().forget(undecided)
    xid = await decided(harness, Outcome.COMMIT, "shop", "stock")
    await harness.client().settle(branch(xid, "shop"), ENDED[Outcome.COMMIT])
    with pytest.raises(StoreRefusedError, match="1 of 2"):
        await harness.client().forget(xid)
    assert len((await harness.client().read(xid)).branches) == 2


async def test_watch_begins_with_what_was_there_and_goes_on(harness: Harness) -> None:
    before = await decided(harness, Outcome.COMMIT, "shop")
    watching = asyncio.create_task(first(harness.client(), "shop", 2))
    after = await decided(harness, Outcome.ROLLBACK, "shop")
    found = {each.id.xid: each.outcome for each in await watching}
    assert found == {before: Outcome.COMMIT, after: Outcome.ROLLBACK}


async def test_watch_leaves_out_what_is_not_to_be_done(harness: Harness) -> None:
    await begun(harness, "shop")
    await decided(harness, Outcome.COMMIT, "shop-2", "sho")
    settled = await decided(harness, Outcome.COMMIT, "shop")
    await harness.client().settle(branch(settled), ENDED[Outcome.COMMIT])
    open_ = await decided(harness, Outcome.COMMIT, "shop")
    assert [each.id.xid for each in await first(harness.client(), "shop", 1)] == [open_]


async def test_a_branch_that_has_settled_is_not_told_once_more(harness: Harness) -> None:
    """Not even by the event that says so: whoever carries outcomes out would do it a second time."""
    one = await decided(harness, Outcome.ROLLBACK, "shop")
    store = harness.client()
    async with asyncio.timeout(30), aclosing(store.watch("shop")) as watch:
        assert (await anext(watch)).id.xid == one
        await store.settle(branch(one, "shop"), ENDED[Outcome.ROLLBACK])
        two = await decided(harness, Outcome.ROLLBACK, "shop")
        assert (await anext(watch)).id.xid == two


async def test_watch_tells_of_a_conflict_again(harness: Harness) -> None:
    xid = await decided(harness, Outcome.ROLLBACK, "shop")
    await harness.client().settle(branch(xid), CONFLICT)
    (found,) = await first(harness.client(), "shop", 1)
    assert (found.id.xid, found.state) == (xid, State.CONFLICT)


async def test_two_watches_of_one_app_both_see_everything(harness: Harness) -> None:
    watching = [asyncio.create_task(first(harness.client(), "shop", 2)) for _ in range(2)]
    expected = {await decided(harness, Outcome.COMMIT, "shop") for _ in range(2)}
    for watch in watching:
        assert {each.id.xid for each in await watch} == expected
