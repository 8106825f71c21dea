"""Guard rows are kept while anything can come of their transaction, and are forgotten together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.modes.guard_row import GUARD_TABLE, Guarded, guard_insert
from globaltx.modes.tcc import Operation
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.memory import Memory, MemoryStore
from globaltx.transaction.calls import Calls
from globaltx.transaction.declared import Progress
from globaltx.transaction.model import (
    Branch,
    BranchId,
    Decision,
    GlobalTransaction,
    Mode,
    Settlement,
    Snapshot,
)
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch import guard_rows
from globaltx_sidecar.branch.guard_rows import Either, GuardRows, GuardSweeper
from globaltx_sidecar.branch.guard_table import GuardTableMissingError, ensure_guard_table
from globaltx_sidecar.health import Health
from globaltx_sidecar.metrics import Metrics

if TYPE_CHECKING:
    from dev.databases import Server
    from globaltx_sidecar.branch.database import Database
    from globaltx_sidecar.branch.guard_rows import Reads

pytestmark = pytest.mark.database

OWNER, KEEP_SECONDS = "shop/bank", 3600
BOTH = [b"cancel", b"try"]


class Stage:
    """A guard table, the rows of one app in it, and the store that knows the transactions."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = MemoryStore(Memory())
        self.rows = GuardRows(database, OWNER)

    async def write(self, xid: Xid, ages: tuple[int, int], owner: str = OWNER) -> None:
        """Write the rows of a try and of its cancel, so many seconds old."""
        branch = BranchId(xid, "bank", "debit.1")
        async with self.database.session() as session:
            call = Guarded.of(branch, Operation.CANCEL)
            await session.rows(guard_insert(self.database.schema, owner, call).decode())
            for operation, age in zip(("try", "cancel"), ages, strict=True):
                await session.rows(
                    f"UPDATE `{self.database.schema}`.{GUARD_TABLE}"
                    f" SET created_at = created_at - INTERVAL {age} SECOND"
                    f" WHERE xid = '{xid}' AND owner = '{owner}' AND operation = '{operation}'"
                )

    async def begin(self, name: str, *, ended: bool, decided: bool = True) -> Xid:
        xid = Xid("shop", name)
        await self.store.begin(GlobalTransaction(xid, "bank", timedelta(seconds=60)))
        branch = BranchId(xid, "bank", "orders")
        await self.store.join(branch, Mode.TCC, Calls("/confirm", "/cancel"))
        if decided:
            await self.store.decide(xid, Decision(Outcome.ROLLBACK, Reason.DECIDED_BY_PERSON))
        if ended:
            await self.store.settle(branch, Settlement(State.ROLLED_BACK, Reason.ROLLED_BACK))
        return xid

    async def sweep(self, store: Reads | None = None) -> int:
        health = Health(Metrics())
        sweeper = GuardSweeper("bank", self.rows, store or self.store, health, keep_seconds=KEEP_SECONDS)
        return await sweeper.sweep()

    async def left(self) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        async with self.database.session() as session:
            for xid, operation in await session.rows(
                f"SELECT xid, operation FROM `{self.database.schema}`.{GUARD_TABLE} ORDER BY xid, operation"
            ):
                found.setdefault(xid.decode(), []).append(operation)
        return found


@pytest.fixture
async def stage(database: Database) -> Stage:
    await ensure_guard_table(database)
    await ensure_guard_table(database)  # it may be repeated
    return Stage(database)


async def test_rows_go_when_their_transaction_has_ended_and_they_are_old(stage: Stage) -> None:
    ended, open_ = await stage.begin("ended", ended=True), await stage.begin("open", ended=False)
    undecided = await stage.begin("undecided", ended=False, decided=False)
    young = await stage.begin("young", ended=True)
    forgotten = Xid("shop", "forgotten")
    for xid in (ended, open_, undecided, forgotten):
        await stage.write(xid, (KEEP_SECONDS + 9, KEEP_SECONDS + 9))
    await stage.write(young, (KEEP_SECONDS + 9, KEEP_SECONDS - 60))
    await stage.write(ended, (KEEP_SECONDS + 9, KEEP_SECONDS + 9), owner="shop/other")
    assert await stage.sweep() == 2
    left = ["shop.ended", "shop.open", "shop.undecided", "shop.young"]  # that of another app is its own
    assert await stage.left() == dict.fromkeys(left, BOTH)
    assert await stage.sweep() == 0


@pytest.mark.parametrize("kept_here", [True, False])
async def test_rows_of_a_declared_saga_stay_until_all_steps_have_ended(
    stage: Stage, *, kept_here: bool
) -> None:
    """Also where it is kept in another store than the rest, and has its outcome for long."""
    memory, xid = Memory(), Xid("shop", "declared")
    store = MemoryStore(memory)
    reads = Either(store, stage.store) if kept_here else Either(stage.store, store)
    await store.begin(GlobalTransaction(xid, "trip", timedelta(seconds=60)))
    branch = BranchId(xid, "trip", "book")
    memory.branches[branch] = Branch(branch, Mode.SAGA, progress=Progress())
    await store.decide(xid, Decision(Outcome.ROLLBACK, Reason.DECIDED_BY_PERSON))
    await stage.write(xid, (KEEP_SECONDS + 9, KEEP_SECONDS + 9))
    assert await stage.sweep(reads) == 0
    await store.settle(branch, Settlement(State.ROLLED_BACK, Reason.ROLLED_BACK))
    assert await stage.sweep(reads) == 1


async def test_there_may_be_more_than_one_batch(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_rows, "BATCH_MAX", 2)
    for number in range(5):
        await stage.write(Xid("shop", f"x{number}"), (KEEP_SECONDS + 9, KEEP_SECONDS + 9))
    await stage.begin("x1", ended=False)
    assert await stage.sweep() == 4
    assert await stage.left() == {"shop.x1": BOTH}


async def test_nothing_is_forgotten_while_the_store_says_nothing(stage: Stage) -> None:
    class Away(MemoryStore):
        async def read(self, xid: Xid) -> Snapshot:
            raise StoreUnavailableError(str(xid))

    await stage.write(Xid("shop", "one"), (KEEP_SECONDS + 9, KEEP_SECONDS + 9))
    with pytest.raises(StoreUnavailableError):
        await stage.sweep(Away(Memory()))
    assert await stage.left() == {"shop.one": BOTH}


async def test_what_was_done_is_told_and_what_was_kept_out_is_not(stage: Stage) -> None:
    calls = {
        each: Guarded.of(BranchId(Xid("shop", each), "bank", "debit.1"), Operation.TRY) for each in "abc"
    }
    async with stage.database.session() as session:
        await session.rows(guard_insert(stage.database.schema, OWNER, calls["a"]).decode())
        await session.rows(guard_insert(stage.database.schema, "shop/other", calls["c"]).decode())
    await stage.write(Xid("shop", "b"), (0, 0))  # its cancel came first
    assert {each: await stage.rows.done(call) for each, call in calls.items()} == {
        "a": True,
        "b": False,
        "c": False,
    }


async def test_what_was_not_committed_is_not_told_and_waits_for_nobody(stage: Stage) -> None:
    call = Guarded.of(BranchId(Xid("shop", "one"), "bank", "debit.1"), Operation.TRY)
    async with stage.database.session() as session:
        await session.rows("BEGIN")
        await session.rows(guard_insert(stage.database.schema, OWNER, call).decode())
        assert not await stage.rows.done(call)
        await session.rows("COMMIT")
    assert await stage.rows.done(call)


async def test_a_database_that_does_not_say_what_was_done_says_that_it_was_not(
    database: Database, server: Server
) -> None:
    server.execute(f"DROP DATABASE {database.schema}")
    call = Guarded.of(BranchId(Xid("shop", "one"), "bank", "debit.1"), Operation.TRY)
    assert not await GuardRows(database, OWNER).done(call)


async def test_a_table_that_cannot_be_made_is_named(database: Database, server: Server) -> None:
    server.execute(f"DROP DATABASE {database.schema}")
    with pytest.raises(GuardTableMissingError, match="globaltx schema --guard"):
        await ensure_guard_table(database)
