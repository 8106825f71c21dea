from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.err import MySQLError

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx.undo import compensate, locks
from globaltx_sidecar.branch import database as connections
from globaltx_sidecar.branch import together
from globaltx_sidecar.branch.together import Together
from globaltx_sidecar.branch.undo_table import UndoTableMissingError
from tests.sidecar.branch.test_phase_two import EVERYTHING, LOCK_WAITS, inventory
from tests.sidecar.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from globaltx_sidecar.branch.database import Database, Row, Session
    from globaltx_sidecar.branch.phase_two import PhaseTwo
    from globaltx_sidecar.branch.schemas import CachedSchemas
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

__all__ = ["inventory"]

OURS = "UPDATE inventory SET available = 7, allocated = 8 WHERE id = 1"
LEFT = "SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''"


@pytest.fixture
def batch(database: Database, schemas: CachedSchemas) -> Together:
    return Together(database, schemas)


async def changed(make: Make, name: str, *statements: str) -> Xid:
    """Do the statements in a local transaction of a new xid, and commit it."""
    xid = Xid("tests", name)
    app = make(xid)
    for each in statements:
        await app.execute(each)
    await app.commit()
    return xid


async def many(make: Make, xid: Xid) -> list[Xid]:
    """Transactions that insert, update and delete, each a row of its own."""
    return [
        await changed(
            make, f"{xid.name}-1", "UPDATE inventory SET available = 7, allocated = 8 WHERE id = 1"
        ),
        await changed(make, f"{xid.name}-2", "DELETE FROM inventory WHERE id = 2"),
        await changed(make, f"{xid.name}-3", "INSERT INTO inventory (product) VALUES (4)"),
        await changed(
            make,
            f"{xid.name}-4",
            "UPDATE inventory SET available = 1 WHERE id = 3",
            "UPDATE inventory SET product = 9 WHERE id = 3",
        ),
    ]


async def test_all_of_a_batch_are_undone_by_one_durable_commit(
    application: Make, batch: Together, sql: Sql, inventory: str, xid: Xid
) -> None:
    xids = [*await many(application, xid), Xid("tests", f"{xid.name}-none")]
    assert await batch.rollback(xids)
    assert sql(EVERYTHING) == inventory
    assert sql(LEFT).strip() == "0"
    assert sql("SELECT COUNT(*) FROM globaltx_undo WHERE xid LIKE '!%'").strip() == "5"
    assert await batch.rollback(xids)
    assert sql(EVERYTHING) == inventory


async def test_a_batch_takes_three_round_trips(
    application: Make, batch: Together, database: Database, inventory: str, xid: Xid
) -> None:
    xids = await many(application, xid)
    await batch.rollback(xids[:1])  # reads shapes
    trains: list[int] = []

    class Counting(connections.Session):
        async def train(
            self, statements: Sequence[str], arguments: Sequence[object] | None = None
        ) -> list[Sequence[Row]]:
            trains.append(len(statements))
            return await super().train(statements, arguments)

        async def rows(self, sql: str, arguments: Sequence[object] | None = None) -> Sequence[Row]:
            trains.append(1)
            return await super().rows(sql, arguments)

    original, connections.Session = connections.Session, Counting  # type: ignore[misc]
    try:
        assert await batch.rollback(xids[1:])
    finally:
        connections.Session = original  # type: ignore[misc]
    assert len(trains) == 3
    assert database.schema
    assert inventory


class _CutOff(connections.Session):
    """A connection that breaks at one statement, before or behind it; trains go statement by statement."""

    at = 0
    answered = False
    count = 0

    async def train(
        self, statements: Sequence[str], arguments: Sequence[object] | None = None
    ) -> list[Sequence[Row]]:
        if arguments is not None:  # shapes
            return await super().train(statements, arguments)
        found: list[Sequence[Row]] = []
        for each in statements:
            _CutOff.count += 1
            here = _CutOff.count == _CutOff.at
            if here and not self.answered:
                raise connections.DatasourceUnavailableError
            found += await super().train([each])
            if here:
                raise connections.DatasourceUnavailableError
        return found


@pytest.mark.parametrize("answered", [False, True], ids=["before", "behind"])
async def test_cut_off_at_any_statement_nothing_has_happened_or_all(
    application: Make,
    batch: Together,
    sql: Sql,
    inventory: str,
    xid: Xid,
    monkeypatch: pytest.MonkeyPatch,
    *,
    answered: bool,
) -> None:
    monkeypatch.setattr(connections, "Session", _CutOff)
    _CutOff.answered, done = answered, False
    at = 0
    while not done:
        at += 1
        xids = await many(application, Xid("tests", f"{xid.name}-{at}"))
        changed = sql(EVERYTHING)
        _CutOff.at, _CutOff.count = at, 0
        done = await batch.rollback(xids)
        fences = int(sql("SELECT COUNT(*) FROM globaltx_undo WHERE xid LIKE '!%'")) // len(xids)
        state = sql(EVERYTHING), int(sql(LEFT)), fences
        assert state in {(changed, len(xids), at - 1), (inventory, 0, at)}
        _CutOff.at = 0
        assert await batch.rollback(xids)
        assert (sql(EVERYTHING), int(sql(LEFT))) == (inventory, 0)
    assert at > 10


async def test_one_in_conflict_leaves_all_to_be_taken_by_themselves(
    application: Make, batch: Together, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    xids = await many(application, xid)
    sql("UPDATE inventory SET available = 1000 WHERE id = 1")
    stands = sql(EVERYTHING)
    assert not await batch.rollback(xids)
    assert sql(EVERYTHING) == stands != inventory
    assert int(sql(LEFT)) == 4
    ends = [(await phase_two.rollback(each)).state for each in xids]
    assert ends == [State.CONFLICT, *[State.ROLLED_BACK] * 3]


async def test_a_row_that_somebody_holds_keeps_a_batch_for_a_second_only(
    application: Make, batch: Together, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    xids = await many(application, xid)
    outsider = application(Xid("tests", f"{xid.name}-outsider"))
    await outsider.run(b"BEGIN")
    await outsider.run(b"SELECT * FROM inventory WHERE id = 3 FOR UPDATE")
    assert not await batch.rollback(xids)
    assert int(sql(LEFT)) == 4
    await outsider.run(b"ROLLBACK")
    for each in xids:
        assert (await phase_two.rollback(each)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_its_fences_wait_for_a_local_commit_under_way(
    application: Make, batch: Together, sql: Sql, inventory: str, xid: Xid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_WAIT_SECONDS", 60)
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    await app.run(locks.undo_insert(app.schema, xid, app.work.records))
    rollback = asyncio.create_task(batch.rollback([xid, Xid("tests", f"{xid.name}-b")]))
    await eventually(lambda: sql(LOCK_WAITS).split()[1] != "0")
    assert not rollback.done()
    await app.run(b"COMMIT")
    assert await rollback
    assert sql(EVERYTHING) == inventory


async def test_a_late_local_transaction_that_holds_a_row_ends_itself_or_the_batch(
    application: Make, batch: Together, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    """It waits for the fence, and the batch for its row: the database ends one of them, and all is undone."""
    await changed(application, xid.name, OURS)
    late = application(xid)
    await late.execute("UPDATE inventory SET available = 6 WHERE id = 1")
    rollback = asyncio.create_task(batch.rollback([xid]))
    await eventually(lambda: sql(LOCK_WAITS).split()[1] != "0")
    try:
        await late.commit()
    except MySQLError:
        await late.roll_back()
    assert await rollback or (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert (sql(EVERYTHING), int(sql(LEFT))) == (inventory, 0)


async def test_records_that_another_leader_has_just_done_end_the_batch(
    application: Make, database: Database, schemas: CachedSchemas, sql: Sql, inventory: str, xid: Xid
) -> None:
    """Between our reading of the records and our locks: then what stands there may be somebody else's.

    It has taken the fence and locked its records before us; all that is left of it is its local transaction.
    """
    insert = "INSERT INTO inventory (id, product, changed) VALUES (9, 4, '2020-01-01')"
    mine = await changed(application, f"{xid.name}-1", insert)

    class Overtaken(Together):
        async def _to_restore(self, session: Session, changes: Sequence[Any]) -> list[Any]:
            (ours,) = changes
            table, row_key = ours.record.table_name, ours.record.row_key
            delete = locks.delete_records(database.schema, table, [row_key], [mine])
            sql(f"BEGIN; {compensate.restore(ours.shape, ours.record)}; {delete}; COMMIT; {insert}")
            return await super()._to_restore(session, changes)

    assert not await Overtaken(database, schemas).rollback([mine])
    assert sql("SELECT product FROM inventory WHERE id = 9").strip() == "4"
    assert sql(LEFT).strip() == "0"
    assert inventory


async def test_more_records_than_a_batch_may_have_are_left_alone(
    application: Make, batch: Together, sql: Sql, inventory: str, xid: Xid, monkeypatch: pytest.MonkeyPatch
) -> None:
    xids = await many(application, xid)
    monkeypatch.setattr(together, "RECORDS_MAX", 3)
    assert not await batch.rollback(xids)
    monkeypatch.setattr(together, "RECORDS_MAX", 4)
    assert await batch.rollback(xids)
    assert sql(EVERYTHING) == inventory


async def test_a_missing_undo_table_is_named(batch: Together, sql: Sql, xid: Xid) -> None:
    sql("DROP TABLE globaltx_undo")
    with pytest.raises(UndoTableMissingError):
        await batch.rollback([xid])
