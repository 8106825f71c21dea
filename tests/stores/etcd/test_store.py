from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from globaltx.modes import notify
from globaltx.stores.base import AlreadyDecidedError, StoreRefusedError, StoreUnavailableError
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.requests import Txn, put
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.calls import Calls
from globaltx.transaction.conflict import CarriedOut, Remedy, Resolution
from globaltx.transaction.model import Branch, Mode
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome, State
from tests.stores.harness import (
    COMMIT,
    CONFLICT,
    ENDED,
    ROLLBACK,
    any_xid,
    branch,
    eventually,
    first,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dev.etcd import Etcd
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from tests.stores.harness import EtcdHarness

MANY = 1000
PAGES = 64 * 1024
"""A few pages of etcd's file, which is what its own books differ by."""
pytestmark = pytest.mark.etcd


@asynccontextmanager
async def opened(etcd: Etcd, prefix: str, *, answer_within: float = 5.0) -> AsyncIterator[EtcdStore]:
    access = EtcdAccess(etcd.endpoints, etcd.credentials)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(EtcdClient(access, timeout=answer_within))
        store = EtcdStore(client, "t", prefix=prefix, begin_wait=0.05, repeat_for=60)
        stack.push_async_callback(store.close)
        yield store


async def whole(store: EtcdStore, xid: Xid, outcome: Outcome = Outcome.COMMIT) -> None:
    """One transaction from its begin until it is forgotten."""
    await store.begin(transaction(xid))
    await asyncio.gather(*(store.join(branch(xid, app), Mode.AT) for app in ("shop", "stock")))
    await store.decide(xid, COMMIT if outcome is Outcome.COMMIT else ROLLBACK)
    await asyncio.gather(*(store.settle(branch(xid, app), ENDED[outcome]) for app in ("shop", "stock")))
    await store.forget(xid)


async def test_the_outcome_reaches_the_app_without_anybody_else(in_etcd: EtcdHarness) -> None:
    store, xid = in_etcd.client(), any_xid("t")
    watching = asyncio.create_task(first(in_etcd.client(), "shop", 1))
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.TCC)
    await store.decide(xid, ROLLBACK)
    ((found,),) = await asyncio.gather(watching)
    assert (found.id, found.mode, found.outcome) == (branch(xid), Mode.TCC, Outcome.ROLLBACK)


async def test_a_close_lets_the_branches_be_told_first(
    client: EtcdClient, in_etcd: EtcdHarness, prefix: str
) -> None:
    store, xid = EtcdStore(client, "t", prefix=prefix), any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    await store.decide(xid, COMMIT)
    await store.close(grace=60)
    assert len(await first(in_etcd.client(), "shop", 1)) == 1


async def test_thousands_of_branches_are_told_and_settled(in_etcd: EtcdHarness) -> None:
    store, xid = in_etcd.client(), any_xid("t")
    await store.begin(transaction(xid))
    apps = [f"app-{number}" for number in range(MANY)]
    await asyncio.gather(*(store.join(branch(xid, app), Mode.AT) for app in apps))
    await store.decide(xid, COMMIT)
    assert await store.stamp(xid) == MANY
    found = await asyncio.gather(*(first(in_etcd.client(), app, 1) for app in apps[:: MANY // 10]))
    assert {each.outcome for (each,) in found} == {Outcome.COMMIT}
    await asyncio.gather(*(store.settle(branch(xid, app), ENDED[Outcome.COMMIT]) for app in apps))
    assert all(each.settled for each in (await store.read(xid)).branches)
    await store.forget(xid)


@pytest.mark.parametrize("forgotten", [False, True])
async def test_branches_that_are_told_late_are_not_opened_again(
    in_etcd: EtcdHarness, client: EtcdClient, prefix: str, *, forgotten: bool
) -> None:
    deciding, go_on, requests = asyncio.Event(), asyncio.Event(), 0

    async def hook(_call: str, when: str) -> None:
        nonlocal requests
        requests += when == "before"
        if requests > 1:  # the first takes the outcome, the next one tells
            deciding.set()
            await go_on.wait()

    slow, other, xid = in_etcd.client(hook), in_etcd.client(), any_xid("t")
    await other.begin(transaction(xid))
    await other.join(branch(xid), Mode.AT)
    await slow.decide(xid, ROLLBACK)
    await deciding.wait()
    assert await other.stamp(xid) == 1
    await other.settle(branch(xid), ENDED[Outcome.ROLLBACK])
    if forgotten:
        await other.forget(xid)
    go_on.set()
    await slow.close(grace=60)
    left = [each.key for each in (await client.list(prefix)).found if "/open/" in each.key]
    assert left == []


@pytest.mark.parametrize("apart", [False, True])
async def test_a_step_that_was_let_through_ends_with_its_commit(
    in_etcd: EtcdHarness, client: EtcdClient, prefix: str, *, apart: bool
) -> None:
    store, xid, calls = in_etcd.client(), any_xid("t"), Calls("", "/compensate")
    await store.begin(transaction(xid))
    await store.join(branch(xid, "never"), Mode.SAGA, calls)
    for app in ("flight", "hotel"):
        await store.join(branch(xid, app), Mode.SAGA, calls, started=not apart)
        if apart:
            await store.start(branch(xid, app))
    await store.decide(xid, COMMIT)
    await store.stamp(xid)
    found = {each.id.app: each.state for each in (await store.read(xid)).branches}
    assert found == {"flight": State.COMMITTED, "hotel": State.COMMITTED, "never": State.ACTIVE}
    assert len([each for each in (await client.list(prefix)).found if "/open/" in each.key]) == 1
    with pytest.raises(StoreRefusedError, match="1 of 3"):
        await store.forget(xid)
    await store.settle(branch(xid, "hotel"), ENDED[Outcome.COMMIT])  # as one that knows less may do
    await store.settle(branch(xid, "never"), ENDED[Outcome.COMMIT])
    assert all(each.settled for each in (await store.read(xid)).branches)
    await store.forget(xid)
    assert (await client.list(prefix)).found == ()


async def test_a_step_is_told_a_rollback(in_etcd: EtcdHarness) -> None:
    store, xid, calls = in_etcd.client(), any_xid("t"), Calls("", "/compensate")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.SAGA, calls, started=True)
    await store.complete(branch(xid))
    await store.decide(xid, ROLLBACK)
    (found,) = await first(store, "shop", 1)
    assert found == (await store.read(xid)).branches[0]
    assert (found.calls, found.started, found.completed, found.settled) == (calls, True, 1, False)


async def test_telling_again_does_not_hide_a_conflict(in_etcd: EtcdHarness) -> None:
    store, xid = in_etcd.client(), any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    await store.decide(xid, ROLLBACK)
    await store.settle(branch(xid), CONFLICT)
    assert await store.stamp(xid) == 1
    (found,) = await first(in_etcd.client(), "shop", 1)
    assert found.state is CONFLICT.state


async def test_a_notification_is_registered_once_and_only_behind_its_outcome(in_etcd: EtcdHarness) -> None:
    xid, store = any_xid("t"), in_etcd.client()
    wish = Notify("billing", "http://billing/")
    await store.begin(replace(transaction(xid), notify=(wish,)))
    (made,) = notify.branches((await store.read(xid)).transaction, COMMIT, datetime.now(UTC))
    await store.register(made)
    assert (await store.read(xid)).branches == ()
    await store.decide(xid, COMMIT)
    await store.register(made)
    (found,) = await first(in_etcd.client(), "shop", 1)
    assert found == made
    await store.settle(made.id, notify.failed(made, 1, "no answer"))
    await store.register(made)
    (found,) = await first(in_etcd.client(), "shop", 1)
    assert (found.attempts, found.state) == (1, State.COMMITTING)
    await store.settle(made.id, notify.delivered(made, 2, 200))
    await store.register(made)
    (found,) = (await store.read(xid)).branches
    assert (found.attempts, found.state, found.reason) == (2, State.COMMITTED, "Notified")


async def test_no_batch_lets_a_branch_join_behind_its_outcome(in_etcd: EtcdHarness) -> None:
    """All comparisons of one request are made first: a join and a decide in one would both hold."""
    store = in_etcd.client()
    joined: set[BranchId] = set()
    early: set[BranchId] = set()
    for _ in range(20):
        xids = [any_xid("t") for _ in range(10)]
        early |= {branch(xid, "early") for xid in xids}
        await asyncio.gather(*(store.begin(transaction(xid)) for xid in xids))
        calls = [
            call
            for xid in xids
            for call in (store.join(branch(xid, "early"), Mode.AT), store.decide(xid, COMMIT))
        ]
        late = [store.join(branch(xid, "late"), Mode.AT) for xid in xids]
        results = await asyncio.gather(*calls, *late, return_exceptions=True)
        joins = [*results[: len(calls) : 2], *results[len(calls) :]]
        assert all(isinstance(each, (Branch, AlreadyDecidedError)) for each in joins)
        joined |= {each.id for each in joins if isinstance(each, Branch)}
    await store.close(grace=60)  # whoever decided has told those that it saw
    told = {each.id for each in await first(in_etcd.client(), "early", len(joined & early))}
    if joined - early:
        told |= {each.id for each in await first(in_etcd.client(), "late", len(joined - early))}
    assert told == joined


async def test_the_store_is_as_small_as_before_after_many_transactions(own_etcd: Etcd, prefix: str) -> None:
    async with opened(own_etcd, prefix) as store, EtcdClient(EtcdAccess(own_etcd.endpoints)) as client:
        await whole(store, any_xid("t"))
        before = own_etcd.size()

        async def history_is_there() -> bool:  # etcd writes its file out in portions
            await asyncio.gather(*(whole(store, any_xid("t")) for _ in range(50)))
            return own_etcd.size() > before + 16 * PAGES

        for _ in range(9):
            await history_is_there()
        await eventually(history_is_there)
        head = await client.list(prefix)
        assert head.found == ()
        await client.compact(head.revision)

        async def is_small() -> bool:  # it is thrown away in the background
            await asyncio.to_thread(own_etcd.members[0].ask, "maintenance/defragment")
            return own_etcd.size() <= before + PAGES

        await eventually(is_small)


async def test_a_member_dies_and_the_leader_moves_in_the_middle(three: Etcd, prefix: str) -> None:
    async with opened(three, prefix, answer_within=2.0) as store:
        done: list[Xid] = []

        async def go_on(stop: asyncio.Event) -> None:
            while not stop.is_set():
                xid = any_xid("t")
                await whole(store, xid, Outcome.ROLLBACK)
                done.append(xid)

        stop = asyncio.Event()
        running = [asyncio.create_task(go_on(stop)) for _ in range(4)]
        try:
            for harm in (three.move_leader, three.leader.crash, three.move_leader):
                count = len(done)
                await asyncio.to_thread(harm)
                await eventually(lambda count=count: len(done) > count + 20)  # type: ignore[misc]
        finally:
            stop.set()
            await asyncio.gather(*running)
            for each in three.members:
                await asyncio.to_thread(each.start)


async def test_an_etcd_that_is_away_is_told_in_time(own_etcd: Etcd, prefix: str) -> None:
    access = EtcdAccess(own_etcd.endpoints)
    async with EtcdClient(access, timeout=1.0) as client:
        store = EtcdStore(client, "t", prefix=prefix, repeat_for=0)
        own_etcd.members[0].freeze()
        with pytest.raises(StoreUnavailableError, match="no answer within 1 s"):
            await store.begin(transaction(any_xid("t")))
        own_etcd.members[0].thaw()
        await eventually(lambda: _is_back(store))
        own_etcd.members[0].crash()
        with pytest.raises(StoreUnavailableError):
            await store.begin(transaction(any_xid("t")))
        await store.close()


async def _is_back(store: EtcdStore) -> bool:
    try:
        await store.begin(transaction(any_xid("t")))
    except StoreUnavailableError:
        return False
    return True


async def test_a_password_renewed_in_its_file_is_used(three: Etcd, prefix: str) -> None:
    async with opened(three, prefix) as store:
        await store.begin(transaction(any_xid("t")))
        member = three.members[0]
        await asyncio.to_thread(member.ask, "auth/user/changepw", name="root", password="other")
        try:
            (three.credentials / "password").write_text("other")
            await whole(store, any_xid("t"))
        finally:
            object.__setattr__(three.shape, "password", "other")


async def test_what_is_no_record_of_ours_does_not_hide_the_others(
    in_etcd: EtcdHarness, client: EtcdClient, prefix: str
) -> None:
    await client.txn(Txn(success=(put(f"{prefix}t/open/shop/aaa/orders", "nonsense"),)))
    store, xid = in_etcd.client(), any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    await store.decide(xid, COMMIT)
    assert [each.id.xid for each in await first(in_etcd.client(), "shop", 1)] == [xid]


async def test_decisions_about_a_conflict_reach_the_app_and_stay_until_it_is_forgotten(
    client: EtcdClient, prefix: str
) -> None:
    store = EtcdStore(client, "t", prefix=prefix, repeat_for=60)
    xid = any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    decided = Resolution(1, Remedy.KEEP, "counted", "ann", datetime(2026, 1, 2, tzinfo=UTC), "stock", "r7")
    await store.resolve(branch(xid), [decided])  # there is no conflict to decide about
    await store.decide(xid, ROLLBACK)
    await store.stamp(xid)
    await store.resolve(branch(xid), [decided])
    assert (await store.read(xid)).branches[0].resolutions == ()
    await store.settle(branch(xid), CONFLICT)
    for _ in range(2):
        await store.resolve(branch(xid), [decided])
    [told] = await first(store, "shop", 1)
    assert told.resolutions == (decided,)
    done = (CarriedOut(1, 2, datetime(2026, 1, 3, tzinfo=UTC)),)
    await store.settle(branch(xid), replace(CONFLICT, message="one is left", carried_out=done))
    [told] = await first(store, "shop", 1)
    assert (told.resolutions, told.carried_out, told.message) == ((decided,), done, "one is left")
    await store.settle(branch(xid), replace(ENDED[Outcome.ROLLBACK], carried_out=done))
    [ended] = (await store.read(xid)).branches
    assert (ended.state, ended.resolutions, ended.carried_out) == (State.ROLLED_BACK, (decided,), done)
    await store.forget(xid)
    assert (await client.list(prefix)).found == ()
    await store.close()


async def test_a_conflict_that_is_told_while_a_person_decides_loses_neither(
    client: EtcdClient, prefix: str
) -> None:
    store = EtcdStore(client, "t", prefix=prefix, repeat_for=60)
    xid = any_xid("t")
    await store.begin(transaction(xid))
    await store.join(branch(xid), Mode.AT)
    await store.decide(xid, ROLLBACK)
    await store.stamp(xid)
    await store.settle(branch(xid), CONFLICT)
    decisions = [Resolution(number, Remedy.RETRY, f"look {number}", "ann") for number in range(1, 6)]
    await asyncio.gather(
        *(store.resolve(branch(xid), [each]) for each in decisions),
        *(store.settle(branch(xid), replace(CONFLICT, message=f"look {number}")) for number in range(5)),
    )
    [told] = await first(store, "shop", 1)
    assert len(told.resolutions) == 5
    assert told.message == (await store.read(xid)).branches[0].message
    await store.close()
