"""Both clients against a real local API."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.client import AsyncClient, Client, Notify, OutcomeUnknownError, RefusedError, Transaction
from globaltx.transaction import notification
from globaltx.transaction.calls import Order, Step
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid
from tests.ports import free_port
from tests.sidecar.local.scene import local_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.sidecar.local.scene import Scene


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with local_api() as running:
        yield running


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(scene.url) as opened:
        yield opened


def outcome(scene: Scene, transaction: Transaction) -> Outcome | None:
    decision = scene.memory.transactions[Xid.parse(transaction.xid)].decision
    return None if decision is None else decision.outcome


class OwnError(Exception):
    pass


async def test_a_block_commits(scene: Scene, client: AsyncClient) -> None:
    async with client.transaction(timeout_seconds=7, mode="TCC") as transaction:
        assert transaction.headers == {"globaltx-xid": transaction.xid}
        assert (await client.status(transaction.xid)).outcome is None
    assert outcome(scene, transaction) is Outcome.COMMIT
    status = await client.status(transaction.xid)
    assert (status.outcome, status.reason) == ("Commit", "DecidedByApplication")


async def test_an_exception_rolls_back_and_goes_on(scene: Scene, client: AsyncClient) -> None:
    with pytest.raises(OwnError):
        async with client.transaction() as transaction:
            raise OwnError
    assert outcome(scene, transaction) is Outcome.ROLLBACK


async def test_a_cancelled_block_rolls_back(scene: Scene, client: AsyncClient) -> None:
    begun = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with client.transaction() as transaction:
            begun.set_result(transaction)
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    transaction = await begun
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcome(scene, transaction) is Outcome.ROLLBACK


async def test_the_decorator_hands_the_transaction_in(scene: Scene, client: AsyncClient) -> None:
    @client.transactional(timeout_seconds=7)
    async def work(transaction: Transaction, word: str) -> tuple[Transaction, str]:
        return transaction, word

    transaction, word = await work("so")
    assert (outcome(scene, transaction), word) == (Outcome.COMMIT, "so")


async def later(transaction: Transaction) -> str:
    return transaction.xid


def bit_by_bit(transaction: Transaction) -> Iterator[str]:
    yield transaction.xid


async def bit_by_bit_later(transaction: Transaction) -> AsyncIterator[str]:
    yield transaction.xid


@pytest.mark.parametrize("work", [later, bit_by_bit, bit_by_bit_later, functools.partial(later)])
def test_what_works_only_after_its_call_is_not_decorated_for_it_would_be_committed_before(work: Any) -> None:
    with pytest.raises(TypeError, match="committed before"):
        Client("http://127.0.0.1:1").transactional()(work)


async def test_a_branch_is_joined(scene: Scene, client: AsyncClient) -> None:
    async with client.transaction() as transaction:
        first, again = [
            await client.join(
                transaction.xid, "seat", "/confirm", "/cancel", key="7", body="7A", headers={"x-a": "1"}
            )
            for _ in range(2)
        ]
    assert (first.repeated, again.repeated, first.name) == (False, True, again.name)
    (branch,) = scene.memory.branches.values()
    assert branch.outcome is Outcome.COMMIT


async def test_steps_of_a_saga_are_joined_and_completed(scene: Scene, client: AsyncClient) -> None:
    async with client.transaction() as transaction:
        seat = await client.step(transaction.xid, "seat", "/seat/free", body="7A")
        await client.completed(transaction.xid, seat)
        await client.step(transaction.xid, "meal", "/meal/cancel", depends_on=["seat"])
    found = {each.id.resource.partition(".")[0]: each for each in scene.memory.branches.values()}
    assert (found["seat"].completed, found["meal"].completed) == (1, 0)
    assert found["meal"].calls is not None
    assert found["meal"].calls.step == Step("meal", Order.DEPENDENCIES, ("seat",))


async def test_a_commit_that_comes_too_late_is_no_commit(client: AsyncClient) -> None:
    with pytest.raises(RefusedError) as refused:
        async with client.transaction() as transaction:
            await client.rollback(transaction.xid, "the deadline, say")
    assert refused.value.outcome == "Rollback"


async def test_when_nobody_knows_it_is_said(scene: Scene, client: AsyncClient) -> None:
    with pytest.raises(OutcomeUnknownError, match="StoreUnavailable"):
        async with client.transaction():
            scene.away.add("decide")
    with pytest.raises(OwnError) as own:
        async with client.transaction():
            raise OwnError
    assert "rolled back at its deadline" in own.value.__notes__[0]


async def test_who_is_told_the_outcome_is_said_at_the_beginning(scene: Scene, client: AsyncClient) -> None:
    url = "http://billing.shop.svc:8080/outcomes"
    plain, full = Notify("billing", url), Notify("stock", url, ["Commit"], [1, 2], 3)

    @client.transactional(notify=[plain, full])
    async def work(transaction: Transaction) -> Transaction:
        return transaction

    @Client(scene.url).transactional(notify=[plain, full])
    def work_in_a_thread(transaction: Transaction) -> Transaction:
        return transaction

    for done in (await work(), await asyncio.to_thread(work_in_a_thread)):
        first, second = scene.memory.transactions[Xid.parse(done.xid)].notify
        assert first == notification.Notify("billing", url)
        assert (second.name, second.outcomes, len(second.pauses)) == ("stock", frozenset({Outcome.COMMIT}), 2)
        assert second.timeout.total_seconds() == 3
    with pytest.raises(RefusedError, match=r"DestinationNotAllowed: body.notify\[0\].url: no notify.egress"):
        await client.begin(notify=[Notify("other", "http://other.shop.svc/")])


async def test_without_a_sidecar_it_is_said() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with AsyncClient(url) as client:
        with pytest.raises(OutcomeUnknownError, match="no answer from the sidecar"):
            await client.begin()
    with pytest.raises(OutcomeUnknownError, match="no answer from the sidecar"):
        Client(url).begin()


async def test_without_its_context_it_says_what_to_do(scene: Scene) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await AsyncClient(scene.url).begin()


async def test_the_client_for_threads_does_the_same(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOBALTX_URL", scene.url)
    client = Client()

    @client.transactional()
    def work(transaction: Transaction) -> Transaction:
        client.join(transaction.xid, "seat", "/confirm", "/cancel")
        client.completed(transaction.xid, client.step(transaction.xid, "meal", "/meal/cancel"))
        return transaction

    def fail() -> Transaction:
        with client.transaction() as transaction:
            found.append(transaction)
            raise OwnError

    found: list[Transaction] = []
    done = await asyncio.to_thread(work)
    assert outcome(scene, done) is Outcome.COMMIT
    assert (await asyncio.to_thread(client.status, done.xid)).outcome == "Commit"
    with pytest.raises(OwnError):
        await asyncio.to_thread(fail)
    assert outcome(scene, found[0]) is Outcome.ROLLBACK
    with pytest.raises(RefusedError, match="UnknownTransaction"):
        await asyncio.to_thread(client.status, "shop.none")
    with pytest.raises(RefusedError):
        await asyncio.to_thread(client.commit, found[0].xid)
