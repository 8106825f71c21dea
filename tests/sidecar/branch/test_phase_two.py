from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.err import MySQLError

from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx.undo import locks
from globaltx.undo.refusal import RefusedError
from globaltx_sidecar.branch.database import LOCK_WAIT_SECONDS, Database
from globaltx_sidecar.branch.phase_two import PhaseTwo
from tests.sidecar.eventually import eventually
from tests.sidecar.mysql.meter import TripMeter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from globaltx_sidecar.branch.database import Row, Session
    from globaltx_sidecar.branch.schemas import CachedSchemas
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

INVENTORY = """
CREATE TABLE inventory (id BIGINT AUTO_INCREMENT PRIMARY KEY, product INT NOT NULL,
  available INT, allocated INT,
  changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3), KEY (product));
INSERT INTO inventory (product, available, allocated, changed) VALUES
  (10, 100, 0, '2020-01-01'), (20, 100, 0, '2020-01-01'), (30, NULL, 0, '2020-01-01');
"""
LOCK_WAITS = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
"""Counted as it is asked, unlike INNODB_TRX, which is not read anew as long as somebody keeps asking."""
DEADLOCKS = (
    "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks';"
    "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'"
)
"""MariaDB tells by the first, MySQL by the second."""
EVERYTHING = "SELECT id, product, available, allocated, changed FROM inventory ORDER BY id"


@pytest.fixture
def inventory(sql: Sql) -> str:
    sql(INVENTORY)
    return sql(EVERYTHING)


async def test_update_is_undone_whole(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute(
        "UPDATE inventory SET available = available - 2, allocated = allocated + 2 WHERE product = 10"
    )
    await app.commit()
    assert sql(EVERYTHING) != inventory
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_what_is_committed_is_forgotten_in_two_trips(
    application: Make, database: Database, schemas: CachedSchemas, sql: Sql, inventory: str, tmp_path: Path
) -> None:
    sql("CREATE TABLE ordered (id INT PRIMARY KEY); CREATE TABLE paid (id INT PRIMARY KEY)")
    xids = [Xid("tests", f"trip{number}") for number in range(3)]
    for number, each in enumerate(xids):
        app = application(each)
        await app.execute(f"UPDATE inventory SET available = 1 WHERE id = {number + 1}")
        await app.execute(f"INSERT INTO ordered VALUES ({number})")
        await app.execute(f"INSERT INTO paid VALUES ({number})")
        await app.commit()
    with TripMeter(database.datasource.port) as meter:
        metered = Database(replace(database.datasource, port=meter.port), str(tmp_path))
        phase_two = PhaseTwo(metered, schemas)
        await phase_two.commit([])
        before = meter.lines[0].trips
        await phase_two.commit(xids)
        assert meter.lines[0].trips - before == 2
        metered.close()
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "0"
    assert sql(EVERYTHING) != inventory


async def test_insert_with_generated_keys_is_undone(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.run(b"SET SESSION auto_increment_increment = 5")
    await app.execute("INSERT INTO inventory (product, available) VALUES (1, 1), (2, 2), (3, NULL)")
    await app.commit()
    assert sql("SELECT COUNT(*) FROM inventory").strip() == "6"
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_delete_is_undone_whole(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("DELETE FROM inventory WHERE product >= ? ORDER BY id LIMIT 2", [10])
    await app.commit()
    assert sql("SELECT COUNT(*) FROM inventory").strip() == "1"
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_commit_forgets_every_record(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 7")
    await app.commit()
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "4"  # three rows and the fence
    await phase_two.commit([xid])
    assert sql("SELECT COUNT(*) FROM globaltx_undo").strip() == "0"
    await phase_two.commit([xid])
    assert sql("SELECT DISTINCT available FROM inventory").strip() == "7"
    assert inventory


@pytest.mark.parametrize("local_transactions", ["one", "each its own"])
@pytest.mark.parametrize(
    "statements",
    [
        [
            "UPDATE inventory SET available = 1 WHERE id = 1",
            "UPDATE inventory SET allocated = 5 WHERE id = 1",
        ],
        [
            "UPDATE inventory SET available = 1 WHERE id = 1",
            "UPDATE inventory SET available = 100 WHERE id = 1",
        ],
        ["UPDATE inventory SET available = NULL WHERE id = 1", "DELETE FROM inventory WHERE id = 1"],
        ["DELETE FROM inventory WHERE id = 1", "INSERT INTO inventory (id, product) VALUES (1, 99)"],
        [
            "INSERT INTO inventory (id, product) VALUES (9, 99)",
            "UPDATE inventory SET allocated = 3 WHERE id = 9",
        ],
        ["INSERT INTO inventory (id, product) VALUES (9, 99)", "DELETE FROM inventory WHERE id = 9"],
        [
            "DELETE FROM inventory WHERE id = 1",
            "INSERT INTO inventory (id, product) VALUES (1, 99)",
            "UPDATE inventory SET product = 98 WHERE id = 1",
            "DELETE FROM inventory WHERE id = 1",
        ],
        [
            "UPDATE inventory SET available = 0",
            "UPDATE inventory SET allocated = id",
            "DELETE FROM inventory WHERE id > 1",
        ],
    ],
)
async def test_one_row_changed_several_times(
    application: Make,
    phase_two: PhaseTwo,
    sql: Sql,
    inventory: str,
    xid: Xid,
    statements: list[str],
    local_transactions: str,
) -> None:
    app = application(xid)
    for statement in statements:
        await app.execute(statement)
        if local_transactions != "one":
            await app.commit()
    await app.commit()
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.ROLLED_BACK, settlement.message
    assert sql(EVERYTHING) == inventory
    assert sql("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''").strip() == "0"


async def test_rollback_twice_leaves_later_changes_alone(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    await app.commit()
    await phase_two.rollback(xid)
    sql("UPDATE inventory SET available = 55 WHERE id = 2")
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql("SELECT available FROM inventory WHERE id = 2").strip() == "55"
    assert inventory


async def test_a_row_changed_by_an_outsider_is_left_alone_and_shown(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = available - 1")
    await app.commit()
    sql("UPDATE inventory SET available = 42 WHERE id = 2")
    settlement = await phase_two.rollback(xid)
    assert (settlement.state, settlement.reason) == (State.CONFLICT, "RowChanged")
    assert "inventory id=2" in settlement.message
    for value in ("before available=100", "after available=99", "available=42"):
        assert value in settlement.message
    assert sql("SELECT available FROM inventory ORDER BY id").split() == ["100", "42", "NULL"]
    assert sql("SELECT row_key FROM globaltx_undo WHERE table_name <> ''").strip() == "2"
    sql("UPDATE inventory SET available = 100, changed = '2020-01-01' WHERE id = 2")
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


@pytest.mark.parametrize(
    ("statement", "outsider"),
    [
        (
            "INSERT INTO inventory (id, product) VALUES (9, 1)",
            "UPDATE inventory SET product = 2 WHERE id = 9",
        ),
        ("DELETE FROM inventory WHERE id = 1", "INSERT INTO inventory (id, product) VALUES (1, 77)"),
        ("UPDATE inventory SET product = 1 WHERE id = 1", "DELETE FROM inventory WHERE id = 1"),
    ],
)
async def test_every_kind_of_change_notices_an_outsider(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid, statement: str, outsider: str
) -> None:
    app = application(xid)
    await app.execute(statement)
    await app.commit()
    sql(outsider)
    left = sql(EVERYTHING)
    assert (await phase_two.rollback(xid)).state is State.CONFLICT
    assert sql(EVERYTHING) == left != inventory


async def test_a_row_that_an_outsider_removed_needs_no_undo_of_its_insert(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("INSERT INTO inventory (id, product) VALUES (9, 1)")
    await app.commit()
    sql("DELETE FROM inventory WHERE id = 9")
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_anothers_row_is_a_lock_conflict_and_tells_its_holder(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    other = Xid("tests", xid.name + "b")
    one, two = application(xid), application(other)
    await one.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    await one.commit()
    await two.execute("UPDATE inventory SET allocated = 1 WHERE id IN (1, 2)")
    with pytest.raises(MySQLError) as conflict:
        await two.commit()
    assert conflict.value.args[0] in locks.LOCK_CONFLICT_ERRORS
    assert await two.holder() == xid
    assert await two.holder() is None
    await two.roll_back()
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


async def test_a_committed_transactions_record_is_taken_over(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    other = Xid("tests", xid.name + "b")
    one, two = application(xid), application(other)
    await one.execute("UPDATE inventory SET available = 1, allocated = 2 WHERE id = 1")
    await one.commit()
    after_one = sql(EVERYTHING)
    await two.execute("UPDATE inventory SET available = 3 WHERE id IN (1, 2)")
    with pytest.raises(MySQLError):
        await two.commit()
    await two.commit(committed=[xid])
    await phase_two.commit([xid])
    assert (await phase_two.rollback(other)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == after_one != inventory


async def test_a_local_commit_after_the_rollback_is_refused_by_the_fence(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    assert (await phase_two.rollback(xid)).state is State.ROLLED_BACK
    with pytest.raises(MySQLError) as refused:
        await app.commit()
    assert refused.value.args[0] in locks.LOCK_CONFLICT_ERRORS
    assert await app.holder() == xid
    await app.roll_back()
    assert sql(EVERYTHING) == inventory


async def test_a_rollback_waits_for_a_local_commit_under_way_and_undoes_it(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    await app.run(locks.undo_insert(app.schema, xid, app.work.records))
    rollback = asyncio.create_task(phase_two.rollback(xid))
    await eventually(lambda: sql(LOCK_WAITS).split()[1] != "0")
    assert not rollback.done()
    await app.run(b"COMMIT")
    assert (await rollback).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "UPDATE inventory SET available = 1 WHERE id = 1",
            "UPDATE inventory SET allocated = 2 WHERE id = 1",
        ),
        ("DELETE FROM inventory WHERE id = 1", "INSERT INTO inventory (id, product) VALUES (1, 77)"),
        ("INSERT INTO inventory (id, product) VALUES (9, 1)", "DELETE FROM inventory WHERE id = 9"),
    ],
)
@pytest.mark.usefixtures("inventory")
async def test_a_rollback_and_a_local_commit_of_its_row_come_to_no_deadlock(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid, theirs: str, ours: str
) -> None:
    """Both lock the row before its undo record, so that who has the row meets a record that nobody holds."""
    other = Xid("tests", xid.name + "b")
    one, two = application(xid), application(other)
    await one.execute(theirs)
    await one.commit()
    before, deadlocks = sql(EVERYTHING), sql(DEADLOCKS)
    await two.execute(ours)
    rollback = asyncio.create_task(phase_two.rollback(xid))
    await eventually(lambda: sql(LOCK_WAITS).split()[1] != "0")
    with pytest.raises(MySQLError) as refused:
        await two.commit()
    assert refused.value.args[0] in locks.LOCK_CONFLICT_ERRORS
    assert await two.holder() == xid
    await two.roll_back()
    assert (await rollback).state is State.ROLLED_BACK
    assert sql(EVERYTHING) != before
    assert sql("SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''").strip() == "0"
    assert sql(DEADLOCKS) == deadlocks


async def test_two_rollbacks_at_once_undo_nothing_of_who_came_between(
    application: Make, database: Database, schemas: CachedSchemas, sql: Sql, xid: Xid, inventory: str
) -> None:
    """The second has read the records before the first is done; then the row is changed to the very same."""
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1, changed = changed WHERE id = 1")
    await app.commit()
    slow = Gated(database.datasource, str(database._folder.parent))
    slow.opens, slow.stops = asyncio.Event(), asyncio.Event()
    second = asyncio.create_task(PhaseTwo(slow, schemas).rollback(xid))
    await slow.stops.wait()
    assert (await PhaseTwo(database, schemas).rollback(xid)).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == inventory
    sql("UPDATE inventory SET available = 1, changed = changed WHERE id = 1")
    changed = sql(EVERYTHING)
    slow.opens.set()
    assert (await second).state is State.ROLLED_BACK
    assert sql(EVERYTHING) == changed != inventory
    slow.close()


class Gated(Database):
    """A database that stops once behind the first look at the undo records."""

    opens: asyncio.Event
    stops: asyncio.Event

    @contextlib.asynccontextmanager
    async def session(self, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> AsyncIterator[Any]:
        async with super().session(lock_wait_seconds) as session:
            yield _Gated(self, session)


class _Gated:
    def __init__(self, database: Gated, session: Session) -> None:
        self._database = database
        self._session = session

    async def rows(self, sql: str, arguments: Sequence[object] | None = None) -> Sequence[Row]:
        rows = await self._session.rows(sql, arguments)
        if sql.startswith("SELECT table_name") and not self._database.stops.is_set():
            self._database.stops.set()
            await self._database.opens.wait()
        return rows


async def test_many_local_commits_against_their_rollback(
    application: Make, phase_two: PhaseTwo, sql: Sql, inventory: str, xid: Xid
) -> None:
    """Whatever the order, a commit that the application was told of is undone, and the others never were."""
    for number in range(20):
        mine = Xid("tests", f"{xid.name}-{number}")
        app = application(mine)
        await app.execute("UPDATE inventory SET available = available + 1 WHERE id = 1")
        commit, rollback = asyncio.create_task(app.commit()), asyncio.create_task(phase_two.rollback(mine))
        await asyncio.wait([commit])
        if commit.exception() is not None:
            await app.roll_back()
        assert (await rollback).state is State.ROLLED_BACK
        assert sql(EVERYTHING) == inventory


async def test_unique_keys_and_foreign_keys_are_restored_in_an_order_that_works(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("""
    CREATE TABLE parent (id INT PRIMARY KEY, place INT UNIQUE);
    CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id));
    INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3); INSERT INTO child VALUES (1, 1);
    """)
    everything = "SELECT * FROM parent ORDER BY id; SELECT * FROM child ORDER BY id"
    before = sql(everything)
    app = application(xid)
    await app.execute("UPDATE parent SET place = place + 1 ORDER BY place DESC")
    await app.execute("UPDATE parent SET place = 10 WHERE id = 1")
    await app.execute("DELETE FROM child WHERE id = 1")
    await app.execute("DELETE FROM parent WHERE id = 1")
    await app.execute("INSERT INTO parent VALUES (4, 2)")
    await app.execute("INSERT INTO child VALUES (2, 4)")
    await app.commit()
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.ROLLED_BACK, settlement.message
    assert sql(everything) == before


async def test_undoing_an_insert_never_takes_rows_along_by_cascade(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("""
    CREATE TABLE parent (id INT PRIMARY KEY);
    CREATE TABLE child (id INT PRIMARY KEY, parent INT,
      FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE);
    """)
    app = application(xid)
    await app.execute("INSERT INTO parent VALUES (1)")
    await app.commit()
    sql("INSERT INTO child VALUES (7, 1)")
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.CONFLICT
    assert "child" in settlement.message
    assert sql("SELECT id FROM child").strip() == "7"
    with pytest.raises(RefusedError, match="does CASCADE in"):
        await application(xid).execute("DELETE FROM parent WHERE id = 1")


@pytest.mark.parametrize("follows", ["CASCADE", "SET NULL"])
async def test_rows_that_hang_on_an_insert_go_first_whatever_the_clock_said(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid, follows: str
) -> None:
    """An application may set the clock of its session, and servers' clocks go back."""
    sql(f"""
    CREATE TABLE parent (id INT PRIMARY KEY);
    CREATE TABLE child (id INT PRIMARY KEY, parent INT,
      FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE {follows});
    """)
    app = application(xid)
    await app.execute("INSERT INTO parent VALUES (1)")
    await app.commit()
    await app.run(b"SET timestamp = 1600000000")
    await app.execute("INSERT INTO child VALUES (7, 1)")
    await app.commit()
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.ROLLED_BACK, settlement.message
    assert sql("SELECT id FROM parent UNION ALL SELECT id FROM child").strip() == ""


async def test_rows_of_others_on_an_insert_leave_exchanged_values_their_way_back(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("""
    CREATE TABLE place (id INT PRIMARY KEY, number INT UNIQUE); INSERT INTO place VALUES (1, 1), (2, 2);
    CREATE TABLE parent (id INT PRIMARY KEY);
    CREATE TABLE child (id INT PRIMARY KEY, parent INT,
      FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE);
    """)
    app = application(xid)
    await app.execute("INSERT INTO parent VALUES (1)")
    for number in ("0 WHERE id = 1", "1 WHERE id = 2", "2 WHERE id = 1"):
        await app.execute(f"UPDATE place SET number = {number}")
    await app.commit()
    sql("INSERT INTO child VALUES (7, 1)")
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.CONFLICT
    assert [each.table for each in settlement.conflicts] == ["parent"]
    assert sql("SELECT * FROM place ORDER BY id").split() == ["1", "1", "2", "2"]


async def test_sweep_drops_only_old_fences(
    application: Make, phase_two: PhaseTwo, database: Database, sql: Sql, inventory: str, xid: Xid
) -> None:
    app = application(xid)
    await app.execute("UPDATE inventory SET available = 1 WHERE id = 1")
    await app.commit()
    await phase_two.rollback(Xid("tests", xid.name + "old"))
    await phase_two.rollback(Xid("tests", xid.name + "new"))
    sql(f"UPDATE globaltx_undo SET created_at = NOW(6) - INTERVAL 2 HOUR WHERE row_key <> '{xid}new'")
    assert await phase_two.stale(3600) == [xid]
    assert await phase_two.sweep() == 1
    assert sql("SELECT COUNT(*) FROM globaltx_undo WHERE table_name = ''").strip() == "2"
    assert database.schema
    assert inventory
