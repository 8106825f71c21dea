from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.etcd import store as etcd_store
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.batches import BYTES_TOGETHER_MAX, TOGETHER_MAX, Batches
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.errors import EtcdRefusedError, EtcdUnavailableError
from globaltx.stores.etcd.requests import Txn, absent, get, put
from globaltx.transaction.calls import Calls
from globaltx.transaction.model import Mode
from globaltx.transaction.states import Outcome
from tests.stores.harness import COMMIT, ENDED, HookedEtcdClient, any_xid, branch, eventually, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dev.etcd import Etcd
    from globaltx.stores.etcd.asking import Asking
    from globaltx.stores.etcd.errors import EtcdError
    from globaltx.stores.etcd.requests import Answer
    from tests.stores.harness import EtcdHarness

FOREVER = 3600.0
pytestmark = pytest.mark.etcd


class Client(HookedEtcdClient):
    """Makes what is not to be held back by tasks or without."""

    def __init__(self, access: EtcdAccess, sending: Sending, *, tasks: bool) -> None:
        super().__init__(access, sending.hook)
        self._sending = sending
        self._tasks = tasks

    def at_once(
        self, method: str, message: bytes, over: Callable[[bytes | EtcdError], None]
    ) -> Asking | None:
        if self._tasks or self._sending.fault is not None or not self._sending.go.is_set():
            return None
        asking = EtcdClient.at_once(self, method, message, over)
        assert asking is not None
        self._sending.requests += 1
        return asking


class Sending:
    """Batches over a client whose requests are counted, held back, or fail."""

    def __init__(self, etcd: Etcd, prefix: str, *, tasks: bool) -> None:
        self.client = Client(EtcdAccess(etcd.endpoints), self, tasks=tasks)
        self.batches = Batches(self.client)
        self.requests = 0
        self.fault: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self._prefix = prefix

    async def hook(self, _call: str, when: str) -> None:
        if when == "before":
            self.requests += 1
            await self.go.wait()
            if self.fault is not None:
                raise self.fault

    def key(self, name: str) -> str:
        return self._prefix + name

    def put(self, name: str, value: str = "x", patience: float = 0.0) -> asyncio.Future[Answer]:
        """Begin to write a key, about an xid of its own."""
        return self.do(Txn(success=(put(self.key(name), value),)), patience)

    def do(self, txn: Txn, patience: float = 0.0) -> asyncio.Future[Answer]:
        return self.batches.txn(any_xid("t"), txn, patience)

    async def value(self, name: str) -> str | None:
        found = (await self.client.txn(Txn(success=(get(self.key(name)),)))).found(0)
        return found[0].value if found else None


@pytest.fixture(params=[True, False], ids=["tasks", "at once"])
async def sending(request: pytest.FixtureRequest, etcd: Etcd, prefix: str) -> AsyncIterator[Sending]:
    made = Sending(etcd, prefix, tasks=request.param)
    await made.client.revision()  # the connection is there
    made.requests = 0
    yield made
    await made.batches.close()
    await made.client.close()


@asynccontextmanager
async def held(sending: Sending) -> AsyncIterator[None]:
    """Let what is sent meanwhile wait behind a request that gets no answer yet."""
    sending.go.clear()
    before = sending.requests
    first = sending.put("first")
    await eventually(lambda: sending.requests == before + 1)
    yield
    sending.go.set()
    await first


async def turns() -> None:
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_has_patience_goes_with_what_is_sent_next(sending: Sending) -> None:
    patient = [sending.put(f"patient-{number}", patience=FOREVER) for number in range(3)]
    await turns()
    assert sending.requests == 0
    await asyncio.gather(sending.put("urgent"), *patient)
    assert sending.requests == 1
    assert await sending.value("patient-2") == "x"


async def test_what_comes_in_the_same_turns_of_the_loop_goes_together(sending: Sending) -> None:
    async def late(number: int) -> None:
        await sending.put(f"late-{number}")

    await asyncio.gather(sending.put("first"), *map(late, range(3)))
    assert sending.requests == 1


async def test_patience_ends(sending: Sending) -> None:
    later, sooner = sending.put("later", patience=FOREVER), sending.put("sooner", patience=0.01)
    await asyncio.gather(later, sooner)
    assert sending.requests == 1


async def test_a_full_request_waits_for_nobody(sending: Sending) -> None:
    await asyncio.gather(*(sending.put(f"k{number}", patience=FOREVER) for number in range(TOGETHER_MAX)))
    assert sending.requests == 1


async def test_two_about_one_xid_stay_in_their_order(sending: Sending) -> None:
    xid, key = any_xid("t"), sending.key("k")
    calls = [
        sending.batches.txn(xid, Txn(success=(put(key, value),)), patience)
        for value, patience in (("1", FOREVER), ("2", 0.0), ("3", FOREVER), ("4", 0.0))
    ]
    await asyncio.gather(*calls)
    assert await sending.value("k") == "4"


async def test_whoever_gives_up_takes_no_other_along(sending: Sending) -> None:
    async with held(sending):
        stays, goes = sending.put("stays"), sending.put("goes")
        patient = sending.put("patient", patience=FOREVER)
        await turns()
        goes.cancel()
        await turns()
    await stays
    await patient
    assert (await sending.value("stays"), await sending.value("goes")) == ("x", None)


async def test_giving_up_while_it_is_under_way_leaves_the_others_alone(sending: Sending) -> None:
    patient = sending.put("patient", patience=FOREVER)
    await turns()
    sending.go.clear()
    urgent = sending.put("urgent")
    await eventually(lambda: sending.requests == 1)
    urgent.cancel()
    await turns()
    sending.go.set()
    await patient
    assert await sending.value("urgent") == "x"  # it was on its way


async def test_one_that_does_not_hold_lets_the_others_happen(sending: Sending) -> None:
    await sending.put("there")
    async with held(sending):
        there = Txn((absent(sending.key("there")),), (put(sending.key("there"), "new"),))
        tasks = [sending.put("a"), sending.do(there), sending.put("b")]
        await turns()
    answers = await asyncio.gather(*tasks)
    assert [each.succeeded for each in answers] == [True, False, True]
    assert (await sending.value("there"), await sending.value("b")) == ("x", "x")


async def test_one_that_is_refused_leaves_the_others_alone(sending: Sending) -> None:
    async with held(sending):
        twice = put(sending.key("twice"), "x")
        tasks = [sending.put("a"), sending.do(Txn(success=(twice, twice))), sending.put("b")]
        await turns()
    a, refused, b = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(refused, EtcdRefusedError)
    assert not isinstance(a, BaseException)
    assert not isinstance(b, BaseException)


async def test_a_fault_is_told_to_each(sending: Sending) -> None:
    async with held(sending):
        tasks = [sending.put("a"), sending.put("b", patience=FOREVER)]
        await turns()
    await asyncio.gather(*tasks)
    sending.fault = EtcdUnavailableError("lost")
    tasks = [sending.put("c", patience=FOREVER), sending.put("d")]
    assert await asyncio.gather(*tasks, return_exceptions=True) == [sending.fault, sending.fault]


async def test_values_that_are_too_many_for_one_request_take_several(sending: Sending) -> None:
    large = "x" * (BYTES_TOGETHER_MAX // 2)
    async with held(sending):
        tasks = [sending.put(f"k{number}", large) for number in range(12)]
        await turns()
    await asyncio.gather(*tasks)
    assert sending.requests >= 2 + 12 // 3


async def test_a_close_ends_those_that_wait(sending: Sending) -> None:
    patient = sending.put("patient", patience=FOREVER)
    await turns()
    await sending.batches.close()
    await asyncio.wait({patient})
    assert patient.cancelled()


async def test_a_close_sends_nothing_more(sending: Sending) -> None:
    sending.go.clear()
    first = sending.put("first")
    await eventually(lambda: sending.requests == 1)
    second = sending.put("second")
    await turns()
    await sending.batches.close()
    await asyncio.wait({first, second})
    await turns()
    assert (sending.requests, first.cancelled(), second.cancelled()) == (1, True, True)


async def test_a_close_ends_what_was_just_about_to_go(sending: Sending) -> None:
    waiting = sending.put("k")
    await asyncio.sleep(0)  # it has been asked, and its request has not begun
    await sending.batches.close()
    await asyncio.wait({waiting})
    assert (sending.requests, waiting.cancelled()) == (0, True)


async def test_an_order_costs_four_requests(in_etcd: EtcdHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin, two joins, the outcome; what tells the branches and their ends goes with the next order's."""
    monkeypatch.setattr(etcd_store, "TELL_PATIENCE", FOREVER)
    monkeypatch.setattr(etcd_store, "SETTLE_PATIENCE", FOREVER)
    requests, orders, ends = 0, 10, []

    async def count(_call: str, when: str) -> None:
        nonlocal requests
        requests += when == "before"

    front, *apps = (in_etcd.client(count) for _ in range(3))
    for _ in range(orders):
        xid = any_xid("t")
        await front.begin(transaction(xid))
        for store, app in zip(apps, ("shop", "stock"), strict=True):
            await store.join(branch(xid, app), Mode.AT)
        await front.decide(xid, COMMIT)
        ends += [
            asyncio.create_task(store.settle(branch(xid, app), ENDED[Outcome.COMMIT]))
            for store, app in zip(apps, ("shop", "stock"), strict=True)
        ]
        await turns()
    assert requests == 4 * orders
    for each in ends[-2:]:
        each.cancel()
    await asyncio.gather(*ends[:-2])


async def test_a_saga_that_commits_costs_six_requests(in_etcd: EtcdHarness) -> None:
    """Begin, two steps and their being done, the outcome; nothing after that."""
    requests, sagas, calls = 0, 10, Calls("", "/compensate")

    async def count(_call: str, when: str) -> None:
        nonlocal requests
        requests += when == "before"

    front, *apps = (in_etcd.client(count) for _ in range(3))
    for _ in range(sagas):
        xid = any_xid("t")
        await front.begin(transaction(xid))
        for store, app in zip(apps, ("flight", "hotel"), strict=True):
            await store.join(branch(xid, app), Mode.SAGA, calls, started=True)
            await store.complete(branch(xid, app))
        await front.decide(xid, COMMIT)
        await front.close(grace=60)
    assert requests == 6 * sagas
    assert all(each.settled for each in (await front.read(xid)).branches)
