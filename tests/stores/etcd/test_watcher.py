from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient, Listing
from globaltx.stores.etcd.errors import CompactedError
from globaltx.stores.etcd.messages import Changes
from globaltx.stores.etcd.requests import Txn, delete, put
from globaltx.stores.etcd.watcher import Watcher
from globaltx.stores.kubernetes.watcher import Backoff
from tests.stores.cable import Cable
from tests.stores.harness import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from dev.etcd import Etcd

QUICK = Backoff(first=0.01, most=0.1)
pytestmark = pytest.mark.etcd


class Seen:
    """What a watcher has told, applied as its user would."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.listings = 0
        self.changes = 0
        self.deletes = 0

    async def follow(self, watcher: Watcher) -> None:
        async with aclosing(watcher.follow()) as told:
            async for each in told:
                if isinstance(each, Listing):
                    self.listings += 1
                    self.keys = {found.key: found.value for found in each.found}
                else:
                    self._apply(each)

    def _apply(self, changes: Changes) -> None:
        self.changes += 1
        for change in changes.changes:
            self.deletes += change.deleted
            if change.deleted:
                self.keys.pop(change.key_value.key, None)
            else:
                self.keys[change.key_value.key] = change.key_value.value


@pytest.fixture
async def cable(own_etcd: Etcd) -> AsyncIterator[Cable]:
    async with Cable(own_etcd.members[0].ports.client) as made:
        yield made


@pytest.fixture
async def writer(own_etcd: Etcd) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(EtcdAccess(own_etcd.endpoints), timeout=60) as made:
        yield made


class CountingClient(EtcdClient):
    watches = 0

    def watch(self, *of: Any, **how: Any) -> AsyncGenerator[Changes, None]:
        self.watches += 1
        return super().watch(*of, **how)


class Watching:
    def __init__(
        self, cable: Cable, prefix: str, silence: float, *, rest: float = 0, deletes: bool = True
    ) -> None:
        self.seen = Seen()
        self.client = CountingClient(EtcdAccess((f"http://127.0.0.1:{cable.port}",)), timeout=2.0)
        self.watcher = Watcher(
            self.client, prefix, silence=silence, rest=rest, deletes=deletes, backoff=QUICK
        )
        self.task = asyncio.create_task(self.seen.follow(self.watcher))

    async def sees(self, **keys: str) -> None:
        wanted = {f"/w/{key}": value for key, value in keys.items()}
        await eventually(lambda: self.task.done() or self.seen.keys == wanted)
        assert self.seen.keys == wanted


@pytest.fixture
async def watching(cable: Cable) -> AsyncIterator[Watching]:
    async with ended(Watching(cable, "/w/", silence=1.0)) as made:
        yield made


@asynccontextmanager
async def ended(made: Watching) -> AsyncIterator[Watching]:
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.wait({made.task})
        await made.client.close()


async def write(client: EtcdClient, **keys: str) -> None:
    await client.txn(Txn(success=tuple(put(f"/w/{key}", value) for key, value in keys.items())))


async def test_it_lists_more_than_a_page_then_follows(watching: Watching, writer: EtcdClient) -> None:
    await watching.sees()
    many = {f"k{number:04}": "x" for number in range(2100)}
    for start in range(0, 2100, 100):
        await write(writer, **dict(list(many.items())[start : start + 100]))
    await watching.sees(**many)
    assert watching.seen.listings == 1
    listing = await writer.list("/w/")
    assert [each.key for each in listing.found] == [f"/w/{key}" for key in many]
    await writer.txn(Txn(success=(delete("/w/k0001"),)))
    del many["k0001"]
    await watching.sees(**many)


async def test_a_silence_is_survived_without_listing_anew(watching: Watching, writer: EtcdClient) -> None:
    await watching.sees()
    await eventually(lambda: watching.client.watches > 2)  # it was ended and resumed
    await write(writer, a="1")
    await watching.sees(a="1")
    assert (watching.seen.listings, watching.watcher.health.last_fault) == (1, "")


@pytest.mark.parametrize("harm", ["cut", "freeze"])
async def test_a_partition_is_told_and_overcome(
    watching: Watching, writer: EtcdClient, cable: Cable, harm: str
) -> None:
    await write(writer, a="1")
    await watching.sees(a="1")
    getattr(cable, harm)()
    await write(writer, a="2", b="1")
    await eventually(lambda: bool(watching.watcher.health.last_fault))
    cable.mend()
    if harm == "freeze":
        cable.cut()  # what was frozen is not waited for: the connections' keep-alive ends them
        cable.mend()
    await watching.sees(a="2", b="1")
    await eventually(lambda: not watching.watcher.health.last_fault)


async def test_what_was_compacted_meanwhile_is_listed_anew(
    watching: Watching, writer: EtcdClient, cable: Cable
) -> None:
    await write(writer, a="1", b="1")
    await watching.sees(a="1", b="1")
    cable.cut()
    await writer.txn(Txn(success=(delete("/w/a"),)))
    for number in range(5):
        await write(writer, b=str(number))
    revision = (await writer.list("/w/")).revision
    await writer.compact(revision)
    with pytest.raises(CompactedError):
        await writer.compact(revision)
    cable.mend()
    await watching.sees(b="4")
    assert watching.seen.listings >= 2


async def test_an_etcd_that_is_started_again_is_followed_on(
    watching: Watching, writer: EtcdClient, own_etcd: Etcd
) -> None:
    await write(writer, a="1")
    await watching.sees(a="1")
    await asyncio.to_thread(own_etcd.members[0].crash)
    await eventually(lambda: bool(watching.watcher.health.last_fault))
    await asyncio.to_thread(own_etcd.members[0].start)
    await write(writer, a="2")
    await watching.sees(a="2")


async def test_changes_gather_while_the_watch_rests(cable: Cable, writer: EtcdClient) -> None:
    async with ended(Watching(cable, "/w/", silence=20.0, rest=1.0)) as watching:
        await watching.sees()
        await write(writer, k00="first")
        await watching.sees(k00="first")
        many = {f"k{number:02}": "x" for number in range(40)}
        for key, value in many.items():
            await write(writer, **{key: value})
        await watching.sees(**many)
        assert watching.seen.changes < len(many) // 2
        assert watching.seen.listings == 1


async def test_a_watch_that_is_far_behind_catches_up_without_a_rest(writer: EtcdClient) -> None:
    watcher, number, found = Watcher(writer, "/w/", rest=3600.0), 1700, 0
    async with asyncio.timeout(60), aclosing(watcher.follow()) as told:
        assert isinstance(await anext(told), Listing)  # watched only when the next is asked for
        await asyncio.gather(*(write(writer, **{f"k{each:04}": "x"}) for each in range(number)))
        messages = 0
        while found < number:
            changes = await anext(told)
            assert isinstance(changes, Changes)
            found, messages = found + len(changes.changes), messages + 1
    assert (found, messages) == (number, 2)


async def test_deletes_are_left_out_where_nobody_asks_for_them(cable: Cable, writer: EtcdClient) -> None:
    async with ended(Watching(cable, "/w/", silence=20.0, deletes=False)) as watching:
        await eventually(lambda: watching.seen.listings == 1)
        await write(writer, a="1")
        await writer.txn(Txn(success=(delete("/w/a"),)))
        await write(writer, b="1")
        await watching.sees(a="1", b="1")
        assert (watching.seen.deletes, watching.seen.listings) == (0, 1)
