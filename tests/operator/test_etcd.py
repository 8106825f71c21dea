"""The operator's part for an etcd, on a real one."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from globaltx.coordinator.reasons import Reason
from globaltx.stores.base import UnknownTransactionError
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import CompactedError, EtcdUnavailableError
from globaltx.stores.etcd.requests import Txn, delete
from globaltx.stores.etcd.store import EtcdStore
from globaltx.transaction.calls import Calls, Reservation
from globaltx.transaction.model import Decision, GlobalTransaction, Mode
from globaltx.transaction.states import Outcome, State
from globaltx_operator import etcd as operator_etcd
from globaltx_operator.cache import Cache
from globaltx_operator.etcd import EtcdKeeper
from globaltx_operator.metrics import Metrics
from tests.stores.cable import Cable
from tests.stores.harness import COMMIT, CONFLICT, ENDED, HookedEtcdClient, any_xid, branch, eventually, first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from globaltx.transaction.xid import Xid

pytestmark = pytest.mark.etcd
HOUR = timedelta(hours=1)


@pytest.fixture
async def client(etcd: Etcd) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(EtcdAccess(etcd.endpoints)) as made:
        yield made


@pytest.fixture
async def store(client: EtcdClient, prefix: str) -> AsyncIterator[EtcdStore]:
    made = EtcdStore(client, "t", prefix=prefix)
    yield made
    await made.close()


@asynccontextmanager
async def leading(
    client: EtcdClient, prefix: str, keep: timedelta = HOUR, compact_seconds: float = 0
) -> AsyncIterator[EtcdKeeper]:
    everywhere = EtcdStore(client, None, prefix=prefix)
    metrics = Metrics(Cache())
    keeper = EtcdKeeper(
        client, everywhere, metrics, lambda: datetime.now(UTC), keep=keep, compact_seconds=compact_seconds
    )
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
        await everywhere.close()


def lasting(xid: Xid, timeout: timedelta = HOUR) -> GlobalTransaction:
    return GlobalTransaction(xid, "shop", timeout)


async def decision(store: EtcdStore, xid: Xid) -> Decision | None:
    return (await store.read(xid)).transaction.decision


async def gone(store: EtcdStore, xid: Xid) -> bool:
    try:
        await store.read(xid)
    except UnknownTransactionError:
        return True
    return False


async def test_a_reservation_brings_the_deadline_forward(
    client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    xid = any_xid("t")
    await store.begin(GlobalTransaction(xid, "shop", HOUR))
    reservation = Reservation(timedelta(seconds=3), "/state", timedelta(seconds=2))
    await store.join(branch(xid), Mode.TCD, Calls("/confirm", "", reservation=reservation))
    async with leading(client, prefix):

        async def decided() -> bool:
            return (await store.read(xid)).transaction.decision is not None

        await eventually(decided)
    found = (await store.read(xid)).transaction.decision
    assert found is not None
    assert (found.outcome, found.reason) == (Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED)


async def test_it_rolls_back_at_the_deadline_and_only_then(
    client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    before, during, patient = (any_xid("t") for _ in range(3))
    await store.begin(lasting(before, timedelta(seconds=0.5)))
    async with leading(client, prefix) as keeper:
        await store.begin(lasting(during, timedelta(seconds=0.5)))
        await store.begin(lasting(patient))
        await store.join(branch(during), Mode.AT)
        for xid in (before, during):
            await eventually(lambda xid=xid: _is_decided(store, xid))  # type: ignore[misc]
            found = await decision(store, xid)
            assert found is not None
            assert (found.outcome, found.reason) == (Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED)
        (told,) = await first(store, "shop", 1)
        assert told.id == branch(during)
        assert await decision(store, patient) is None
        await eventually(lambda: keeper.states()[State.ACTIVE] == 1)


async def _is_decided(store: EtcdStore, xid: Xid) -> bool:
    return await decision(store, xid) is not None


async def test_it_tells_the_branches_that_whoever_decided_did_not(
    client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    xid = any_xid("t")
    await store.begin(lasting(xid))
    for app in ("shop", "stock"):
        await store.join(branch(xid, app), Mode.AT)
    await store.decide(xid, COMMIT)
    await store.stamp(xid)
    await client.txn(Txn(success=(delete(store.keys.open(branch(xid, "stock"))),)))  # as if it had crashed
    async with leading(client, prefix):
        assert [each.id for each in await first(store, "stock", 1)] == [branch(xid, "stock")]


async def test_it_forgets_what_has_ended_and_nothing_else(
    client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    ended, waiting, disputed = (any_xid("t") for _ in range(3))
    for xid in (ended, waiting, disputed):
        await store.begin(lasting(xid))
        await store.join(branch(xid), Mode.AT)
        await store.decide(xid, COMMIT)
        await store.stamp(xid)
    async with leading(client, prefix, keep=timedelta(seconds=0.2)) as keeper:
        await store.settle(branch(disputed), CONFLICT)
        await store.settle(branch(ended), ENDED[Outcome.COMMIT])
        await eventually(lambda: gone(store, ended))
        await eventually(
            lambda: keeper.states() == {State.COMMITTING: 1, State.CONFLICT: 1}  # counted as they are
        )
        await store.settle(branch(disputed), ENDED[Outcome.COMMIT])
        await eventually(lambda: gone(store, disputed))
        assert not await gone(store, waiting)
        await store.settle(branch(waiting), ENDED[Outcome.COMMIT])
        await eventually(lambda: gone(store, waiting))
    assert (await client.list(prefix)).found == ()


async def test_what_is_not_to_be_kept_at_all_is_looked_at_once(
    client: EtcdClient, store: EtcdStore, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    xid = any_xid("t")
    await store.begin(lasting(xid))
    await store.decide(xid, COMMIT)
    async with leading(client, prefix, keep=timedelta()):
        await eventually(lambda: gone(store, xid))
    assert not [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]


async def test_what_was_removed_by_hand_is_followed_no_more(
    client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    xid = any_xid("t")
    await store.begin(lasting(xid, timedelta(seconds=1)))
    async with leading(client, prefix) as keeper:
        await eventually(lambda: keeper.states()[State.ACTIVE] == 1)
        await client.txn(Txn(success=(delete(store.keys.begin(xid)),)))
        await eventually(lambda: not keeper.states())


async def test_a_name_that_is_begun_anew_when_its_removal_is_found_out_is_followed(
    etcd: Etcd, client: EtcdClient, store: EtcdStore, prefix: str
) -> None:
    xid = any_xid("t")

    async def hook(_call: str, when: str) -> None:
        if when == "after" and await gone(store, xid):
            old = keeper._known.get(xid)  # the new one has the same name and the same state
            await store.begin(lasting(xid, timedelta(seconds=2)))
            await eventually(lambda: keeper._known.get(xid) is not old)

    async def rolled_back() -> bool:
        return not await gone(store, xid) and await decision(store, xid) is not None

    await store.begin(lasting(xid, timedelta(seconds=1)))
    async with (
        HookedEtcdClient(EtcdAccess(etcd.endpoints), hook) as hooked,
        leading(hooked, prefix) as keeper,
    ):
        await eventually(lambda: keeper.states()[State.ACTIVE] == 1)
        await client.txn(Txn(success=(delete(store.keys.begin(xid)),)))
        await eventually(rolled_back)


@pytest.mark.parametrize("decided", [True, False])
async def test_a_name_that_is_begun_anew_while_it_is_forgotten_is_followed(
    etcd: Etcd, store: EtcdStore, prefix: str, *, decided: bool
) -> None:
    """The answer to the removal is lost, and the request of that id comes again before the next attempt."""
    xid, lives = any_xid("t"), 0

    async def live(deadline: timedelta) -> None:
        await store.begin(lasting(xid, deadline))
        await store.join(branch(xid), Mode.AT)

    async def hook(_call: str, when: str) -> None:
        nonlocal lives
        if when == "after" and lives == 1 and await gone(store, xid):
            lives = 2
            await live(HOUR if decided else timedelta(seconds=1))
            if decided:
                await store.decide(xid, COMMIT)
            await eventually(lambda: keeper.states()[State.ACTIVE] == 1)
            raise EtcdUnavailableError(xid.name)

    await live(HOUR)
    await store.decide(xid, COMMIT)
    await store.settle(branch(xid), ENDED[Outcome.COMMIT])
    lives = 1
    async with (
        HookedEtcdClient(EtcdAccess(etcd.endpoints), hook) as hooked,
        leading(hooked, prefix, keep=timedelta()) as keeper,
    ):
        (told,) = await first(store, "shop", 1)
        assert told.id == branch(xid)
        assert told.outcome is (Outcome.COMMIT if decided else Outcome.ROLLBACK)
        await store.settle(branch(xid), ENDED[told.outcome])
        await eventually(lambda: gone(store, xid))


async def test_it_tells_whether_its_watch_goes_on(tmp_path: Path, prefix: str) -> None:
    with Etcd.up(folder=tmp_path / "etcd", durable=False) as own:
        async with (
            Cable(own.members[0].ports.client) as cable,
            EtcdClient(EtcdAccess((f"http://127.0.0.1:{cable.port}",)), timeout=1) as client,
            EtcdClient(EtcdAccess(own.endpoints)) as writer,
            leading(client, prefix) as keeper,
        ):
            store = EtcdStore(writer, "t", prefix=prefix)
            await eventually(keeper.is_well)
            cable.cut()
            await eventually(lambda: not keeper.is_well())
            await store.begin(lasting(any_xid("t")))
            await writer.compact(await writer.revision())  # what was missed is history by now
            assert not keeper.is_well()
            cable.mend()
            await eventually(keeper.is_well)
            await eventually(lambda: keeper.states()[State.ACTIVE] == 1)
            await store.close()
        assert keeper.is_well()  # nobody leads here, so nothing is to be watched


async def test_it_throws_history_away(client: EtcdClient, store: EtcdStore, prefix: str) -> None:
    revision = await client.revision()
    async with leading(client, prefix, compact_seconds=0.1):
        await store.begin(lasting(any_xid("t")))

        async def is_compacted() -> bool:
            try:
                async for _ in client.watch(prefix, revision, silence=0.1):
                    pass
            except CompactedError:
                return True
            return False

        await eventually(is_compacted)


async def test_a_transaction_that_ends_at_once_is_looked_at_once(
    client: EtcdClient, store: EtcdStore, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_etcd, "SETTLE_DOWN", HOUR)
    monkeypatch.setattr(operator_etcd, "SETTLE_DOWN_UNDECIDED", HOUR)
    looked: Counter[Xid] = Counter()

    async def review(keeper: EtcdKeeper, xid: Xid) -> timedelta | None:
        looked[xid] += 1
        return await reviewed(keeper, xid)

    reviewed = EtcdKeeper.review
    monkeypatch.setattr(EtcdKeeper, "review", review)
    xids = [any_xid("t") for _ in range(20)]
    async with leading(client, prefix) as keeper:
        await eventually(lambda: keeper.watcher.health.synced)
        for xid in xids:
            await store.begin(lasting(xid))
            await store.join(branch(xid), Mode.AT)
            await store.decide(xid, COMMIT)
            await store.settle(branch(xid), ENDED[Outcome.COMMIT])
        await eventually(lambda: len(looked) == len(xids) and not keeper.states())
        counted = keeper._metrics.exposed().decode()
    assert set(looked.values()) == {1}
    assert f'globaltx_ended_total{{state="Committed"}} {len(xids)}.0' in counted
    assert f'globaltx_decisions_total{{outcome="Commit",reason="{COMMIT.reason}"}} {len(xids)}.0' in counted
