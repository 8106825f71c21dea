"""Each call is lost, or its caller dies, before and after each of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TYPE_CHECKING, cast

import pytest

from globaltx.stores.base import AlreadyDecidedError, Store, StoreUnavailableError, UnknownTransactionError
from globaltx.transaction.model import Mode
from globaltx.transaction.states import Outcome
from tests.stores.harness import (
    COMMIT,
    ENDED,
    ROLLBACK,
    Breaking,
    any_xid,
    branch,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from globaltx.stores.etcd.store import EtcdStore
    from globaltx.stores.kubernetes.store import KubernetesStore
    from globaltx.transaction.xid import Xid
    from tests.stores.harness import EtcdHarness, Harness, KubernetesHarness

    StampingHarness = KubernetesHarness | EtcdHarness

Call = Callable[[Store], Awaitable[object]]


@pytest.fixture(params=["lost", "killed"])
def how(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(
    params=[
        pytest.param("in_kubernetes", marks=pytest.mark.control_plane, id="kubernetes"),
        pytest.param("in_etcd", marks=pytest.mark.etcd, id="etcd"),
    ]
)
def stamping(request: pytest.FixtureRequest) -> StampingHarness:
    """The stores in which telling the branches is a step of its own."""
    found: StampingHarness = request.getfixturevalue(request.param)
    return found


async def broken_at_each_moment(
    harness: Harness, how: str, prepare: Callable[[], Awaitable[tuple[Xid, Call]]]
) -> AsyncIterator[tuple[Xid, Call]]:
    """Break a prepared call at its n-th moment, for each n that it has; yield what is left behind."""
    for moment in count():
        xid, call = await prepare()
        breaking = Breaking(moment, harness.lost if how == "lost" else None)
        running = asyncio.ensure_future(call(harness.client(breaking)))
        broke = asyncio.create_task(breaking.broke.wait())
        await asyncio.wait({running, broke}, return_when=asyncio.FIRST_COMPLETED)
        whole = not breaking.broke.is_set()
        broke.cancel()
        if how == "killed":
            running.cancel()
        await asyncio.wait({running})
        if whole:
            assert moment >= 2  # at least before and after one request
            assert running.exception() is None
            return
        if not running.cancelled() and running.exception() is None:
            assert harness.tells_later
        else:
            assert running.cancelled() or isinstance(running.exception(), StoreUnavailableError)
        yield xid, call


async def prepared(harness: Harness, *steps: str) -> Xid:
    xid = any_xid(harness.namespace)
    deeds: dict[str, Call] = {
        "begin": lambda store: store.begin(transaction(xid)),
        "join": lambda store: store.join(branch(xid), Mode.AT),
        "decide": lambda store: store.decide(xid, COMMIT),
        "stamp": lambda _store: harness.stamp(xid),
        "settle": lambda store: store.settle(branch(xid), ENDED[Outcome.COMMIT]),
    }
    for step in steps:
        await deeds[step](harness.client())
    return xid


async def end(harness: Harness, xid: Xid) -> None:
    """Whatever was left behind, the transaction can be carried out and forgotten."""
    decision = await harness.client().decide(xid, ROLLBACK)
    await harness.stamp(xid)
    for each in (await harness.client().read(xid)).branches:
        assert each.outcome is decision.outcome
        await harness.client().settle(each.id, ENDED[decision.outcome])
    await harness.client().forget(xid)
    with pytest.raises(UnknownTransactionError):
        await harness.client().read(xid)


async def test_begin(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = any_xid(harness.namespace)
        return xid, lambda store: store.begin(transaction(xid))

    async for xid, call in broken_at_each_moment(harness, how, prepare):
        await call(harness.client())
        assert (await harness.client().read(xid)).transaction.decision is None
        await end(harness, xid)


async def test_join_then_repeated(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin")
        return xid, lambda store: store.join(branch(xid), Mode.AT)

    async for xid, call in broken_at_each_moment(harness, how, prepare):
        await call(harness.client())
        assert len((await harness.client().read(xid)).branches) == 1
        await end(harness, xid)


async def test_join_then_decided(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin")
        return xid, lambda store: store.join(branch(xid), Mode.AT)

    async for xid, call in broken_at_each_moment(harness, how, prepare):
        await harness.client().decide(xid, ROLLBACK)
        with pytest.raises(AlreadyDecidedError):
            await call(harness.client())
        await end(harness, xid)


async def test_join_beside_another_process_of_the_app(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin", "join")
        return xid, lambda store: store.join(branch(xid), Mode.AT)

    async for xid, _call in broken_at_each_moment(harness, how, prepare):
        await harness.client().decide(xid, ROLLBACK)
        assert [each.id for each in (await harness.client().read(xid)).branches] == [branch(xid)]


async def test_decide(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin", "join")
        return xid, lambda store: store.decide(xid, COMMIT)

    outcomes = set()
    async for xid, _call in broken_at_each_moment(harness, how, prepare):
        stands = await harness.client().decide(xid, ROLLBACK)
        found = (await harness.client().read(xid)).transaction.decision
        assert found is not None
        assert found.outcome is stands.outcome
        outcomes.add(stands.outcome)
        await end(harness, xid)
    assert outcomes == set(Outcome)  # broken before it happened, and after


async def test_settle(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin", "join", "decide", "stamp")
        return xid, lambda store: store.settle(branch(xid), ENDED[Outcome.COMMIT])

    async for xid, call in broken_at_each_moment(harness, how, prepare):
        await call(harness.client())
        assert all(each.settled for each in (await harness.client().read(xid)).branches)
        await end(harness, xid)


async def test_forget(harness: Harness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(harness, "begin", "join", "decide", "stamp", "settle")
        return xid, lambda store: store.forget(xid)

    async for xid, call in broken_at_each_moment(harness, how, prepare):
        await call(harness.client())
        with pytest.raises(UnknownTransactionError):
            await harness.client().read(xid)
        # Nothing of it is left that a transaction begun by mistake under its name could meet.
        await harness.client().begin(transaction(xid))
        assert (await harness.client().read(xid)).branches == ()


async def test_stamp(stamping: StampingHarness, how: str) -> None:
    async def prepare() -> tuple[Xid, Call]:
        xid = await prepared(stamping, "begin", "join", "decide")
        await stamping.client().stamp(xid)
        xid = await prepared(stamping, "begin", "join")
        await stamping.client().join(branch(xid, "stock"), Mode.AT)
        await stamping.client().decide(xid, COMMIT)
        return xid, lambda store: cast("EtcdStore | KubernetesStore", store).stamp(xid)

    async for xid, call in broken_at_each_moment(stamping, how, prepare):
        await call(stamping.client())
        branches = (await stamping.client().read(xid)).branches
        assert [each.outcome for each in branches] == [Outcome.COMMIT] * 2


async def test_a_passing_fault_is_waited_out(stamping: StampingHarness) -> None:
    for moment in range(2 if stamping.tells_later else 6):
        xid = await prepared(stamping, "begin")
        breaking = Breaking(moment, stamping.lost)
        await stamping.client(breaking, repeat_for=30).join(branch(xid), Mode.AT)
        assert breaking.broke.is_set()
        assert len((await stamping.client().read(xid)).branches) == 1
