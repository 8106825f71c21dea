"""Every order in which the requests of concurrent calls can reach a store."""

from __future__ import annotations

import asyncio
import random
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.stores.base import AlreadyDecidedError
from globaltx.transaction.model import Branch, Decision, Mode, Snapshot
from globaltx.transaction.states import Outcome
from tests.stores.harness import COMMIT, ENDED, ROLLBACK, Turns, any_xid, branch, first, transaction

if TYPE_CHECKING:
    from globaltx.stores.base import Store
    from globaltx.transaction.xid import Xid
    from tests.stores.harness import Harness

JOIN_AGAINST_DECIDE = sorted({"".join(order) for order in permutations("jjjddd")})
JOIN_AGAINST_DECIDE_AND_READ = sorted({"".join(order) for order in permutations("jjjdrr")})
TWO_JOINS_AGAINST_DECIDE = random.Random(7).sample(  # noqa: S311  a fixed choice, no secret
    sorted({"".join(random.Random(seed).sample("jjjkkkdd", 8)) for seed in range(600)}),  # noqa: S311
    40,
)


async def carry_out(store: Store, xid: Xid, decision: Decision) -> Snapshot:
    """What whoever carries an outcome out does: the outcome first, then all the branches."""
    await store.decide(xid, decision)
    return await store.read(xid)


async def begun(harness: Harness) -> Xid:
    xid = any_xid(harness.namespace)
    await harness.client().begin(transaction(xid))
    return xid


def check(joined: Any, of: Any, seen: Snapshot) -> None:
    """The invariant: who was told that it joined is seen by who carries the outcome out."""
    if isinstance(joined, Branch):
        assert of in {each.id for each in seen.branches}
    else:
        assert isinstance(joined, AlreadyDecidedError), joined


async def test_no_order_of_join_and_decide_hides_a_branch(harness: Harness) -> None:
    results = set()
    for order in JOIN_AGAINST_DECIDE:
        xid, turns = await begun(harness), Turns(order)
        joined, seen = await asyncio.gather(
            turns.act("j", harness.client(turns.hook("j")).join(branch(xid), Mode.AT)),
            turns.act("d", carry_out(harness.client(turns.hook("d")), xid, ROLLBACK)),
        )
        check(joined, branch(xid), seen)
        results.add(type(joined))
    assert results == {Branch, AlreadyDecidedError}  # both ends of the race were met


async def test_who_reads_an_outcome_reads_all_branches_that_joined(harness: Harness) -> None:
    outcomes = set()
    for order in JOIN_AGAINST_DECIDE_AND_READ:
        xid, turns = await begun(harness), Turns(order)
        joined, _stands, seen = await asyncio.gather(
            turns.act("j", harness.client(turns.hook("j")).join(branch(xid), Mode.AT)),
            turns.act("d", harness.client(turns.hook("d")).decide(xid, ROLLBACK)),
            turns.act("r", harness.client(turns.hook("r")).read(xid)),
        )
        assert isinstance(seen, Snapshot)
        if seen.transaction.decision is not None:
            check(joined, branch(xid), seen)
        outcomes.add((seen.transaction.decision is None, type(joined)))
    assert len(outcomes) == 4  # read before and after the outcome, joined and too late


@pytest.mark.parametrize("order", TWO_JOINS_AGAINST_DECIDE)
async def test_one_process_never_takes_back_what_another_joined(harness: Harness, order: str) -> None:
    xid, turns = await begun(harness), Turns(order)
    first_joined, second_joined, seen = await asyncio.gather(
        turns.act("j", harness.client(turns.hook("j")).join(branch(xid), Mode.AT)),
        turns.act("k", harness.client(turns.hook("k")).join(branch(xid), Mode.AT)),
        turns.act("d", carry_out(harness.client(turns.hook("d")), xid, COMMIT)),
    )
    check(first_joined, branch(xid), seen)
    check(second_joined, branch(xid), seen)
    later = {each.id for each in (await harness.client().read(xid)).branches}
    assert {each.id for each in seen.branches} <= later


async def test_many_joins_against_many_decides(harness: Harness) -> None:
    for _ in range(5):
        xid = await begun(harness)
        apps = [f"app-{number}" for number in range(12)]
        joins = [harness.client().join(branch(xid, app), Mode.AT) for app in apps]
        decides = [carry_out(harness.client(), xid, each) for each in (COMMIT, ROLLBACK, COMMIT)]
        results = await asyncio.gather(*joins, *decides, return_exceptions=True)
        snapshots = results[len(joins) :]
        for app, joined in zip(apps, results, strict=False):
            for seen in snapshots:
                assert isinstance(seen, Snapshot)
                check(joined, branch(xid, app), seen)
        await harness.stamp(xid)
        after = await harness.client().read(xid)
        assert after.transaction.decision is not None
        assert {each.outcome for each in after.branches} <= {after.transaction.decision.outcome}


async def test_exactly_one_outcome_is_taken(harness: Harness) -> None:
    for order in sorted({"".join(each) for each in permutations("aabb")}):
        xid, turns = await begun(harness), Turns(order)
        stands = await asyncio.gather(
            turns.act("a", harness.client(turns.hook("a")).decide(xid, COMMIT)),
            turns.act("b", harness.client(turns.hook("b")).decide(xid, ROLLBACK)),
        )
        assert {each.outcome for each in stands} == {COMMIT.outcome if order[0] == "a" else ROLLBACK.outcome}
        found = (await harness.client().read(xid)).transaction.decision
        assert found is not None
        assert found.outcome is stands[0].outcome


async def test_a_branch_settled_by_two_leaders_is_settled_once(harness: Harness) -> None:
    xid = await begun(harness)
    await harness.client().join(branch(xid), Mode.AT)
    await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    settle = [harness.client().settle(branch(xid), ENDED[Outcome.ROLLBACK]) for _ in range(8)]
    await asyncio.gather(*settle)
    (found,) = (await harness.client().read(xid)).branches
    assert found.settled


async def test_a_watch_misses_nothing_of_what_is_decided_meanwhile(harness: Harness) -> None:
    async def whole() -> Xid:
        xid = await begun(harness)
        await harness.client().join(branch(xid), Mode.AT)
        await harness.client().decide(xid, COMMIT)
        await harness.stamp(xid)
        return xid

    watching = asyncio.create_task(first(harness.client(), "shop", 20))
    expected = await asyncio.gather(*(whole() for _ in range(20)))
    assert {each.id.xid for each in await watching} == set(expected)
