"""Rows in conflict: how they are shown, and what becomes of them by a person's decision."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from globaltx.transaction.conflict import CarriedOut, ColumnConflict, Remedy, Resolution
from globaltx.transaction.states import State
from globaltx.transaction.xid import Xid
from globaltx_sidecar.branch.database import LOCK_WAIT_SECONDS, Database, DatasourceUnavailableError
from globaltx_sidecar.branch.phase_two import PhaseTwo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from globaltx.transaction.model import Settlement
    from globaltx_sidecar.branch.database import Row, Session
    from globaltx_sidecar.branch.schemas import CachedSchemas
    from tests.undo.application import Application

    Sql = Callable[[str], str]
    Make = Callable[..., Application]

STOCK = """
CREATE TABLE stock (id INT PRIMARY KEY, amount INT, note VARCHAR(40));
INSERT INTO stock VALUES (1, 100, 'a'), (2, 100, 'b'), (3, 100, 'c'), (4, 100, 'd');
"""
AMOUNTS = "SELECT GROUP_CONCAT(amount ORDER BY id) FROM stock"
RECORDS = "SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> ''"


def decided(action: Remedy, number: int = 1, *, table: str = "", row: str = "") -> Resolution:
    return Resolution(number, action, "the books say so", "kim", table=table, row=row)


@pytest.fixture
async def conflict(application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid) -> Settlement:
    """Four rows were 100, made 90 by the transaction; rows 2 and 3 then 42 and 43 by somebody else."""
    sql(STOCK)
    app = application(xid)
    await app.execute("UPDATE stock SET amount = 90")
    await app.commit()
    sql("UPDATE stock SET amount = 40 + id WHERE id IN (2, 3)")
    settlement = await phase_two.rollback(xid)
    assert settlement.state is State.CONFLICT
    return settlement


def test_what_is_shown(conflict: Settlement, sql: Sql) -> None:
    assert conflict.conflicts_total == 2
    assert [(each.table, each.key) for each in conflict.conflicts] == [("stock", "id=3"), ("stock", "id=2")]
    assert conflict.conflicts[0].columns == (ColumnConflict("amount", "100", "90", "43"),)
    assert conflict.message == (
        "stock id=3 was changed by somebody else and was left alone: "
        "before amount=100, after amount=90, now amount=43 (and 1 more rows)"
    )
    assert sql(AMOUNTS).strip() == "100,42,43,100"


async def test_a_row_keeps_its_name(conflict: Settlement, phase_two: PhaseTwo, xid: Xid) -> None:
    again = await phase_two.rollback(xid)
    assert again == conflict
    assert len({each.row for each in conflict.conflicts}) == 2


async def test_keep_lets_the_rows_be_and_drops_their_records(
    conflict: Settlement, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    settlement = await phase_two.rollback(xid, [decided(Remedy.KEEP)])
    assert (settlement.state, settlement.reason) == (State.ROLLED_BACK, "ResolvedByPerson")
    assert settlement.message == "#1 Keep by kim: the books say so"
    assert settlement.carried_out == (CarriedOut(1, 2),)
    assert sql(AMOUNTS).strip() == "100,42,43,100"
    assert sql(RECORDS).strip() == "0"
    assert conflict.conflicts_total == 2


async def test_restore_puts_back_what_was_before(
    conflict: Settlement, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("UPDATE stock SET amount = 7 WHERE id = 2")  # whatever stands there
    settlement = await phase_two.rollback(xid, [decided(Remedy.RESTORE)])
    assert (settlement.state, settlement.reason) == (State.ROLLED_BACK, "ResolvedByPerson")
    assert sql(AMOUNTS).strip() == "100,100,100,100"
    assert sql(RECORDS).strip() == "0"
    assert conflict.conflicts_total == 2


async def test_retry_compares_again_and_overwrites_nothing(
    conflict: Settlement, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("UPDATE stock SET amount = 90 WHERE id = 2")
    settlement = await phase_two.rollback(xid, [decided(Remedy.RETRY)])
    assert (settlement.state, settlement.conflicts_total) == (State.CONFLICT, 1)
    assert settlement.carried_out == (CarriedOut(1, 1),)
    assert sql(AMOUNTS).strip() == "100,100,43,100"
    sql("UPDATE stock SET amount = 90 WHERE id = 3")
    settlement = await phase_two.rollback(xid, [decided(Remedy.RETRY)])
    assert (settlement.state, settlement.reason) == (State.ROLLED_BACK, "RolledBack")
    assert conflict.conflicts_total == 2


async def test_a_decision_about_one_row_leaves_the_other_in_conflict(
    conflict: Settlement, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    three, two = (each.row for each in conflict.conflicts)
    one = decided(Remedy.RESTORE, table="stock", row=three)
    settlement = await phase_two.rollback(xid, [one])
    assert [each.row for each in settlement.conflicts] == [two]
    assert sql(AMOUNTS).strip() == "100,42,100,100"
    elsewhere = [decided(Remedy.RESTORE, 2, table="other"), decided(Remedy.KEEP, 3, table="other", row=two)]
    assert (await phase_two.rollback(xid, [one, *elsewhere])).state is State.CONFLICT
    settlement = await phase_two.rollback(xid, [one, *elsewhere, decided(Remedy.KEEP, 4, table="stock")])
    assert settlement.state is State.ROLLED_BACK
    assert sql(AMOUNTS).strip() == "100,42,100,100"


async def test_the_last_decision_counts(
    conflict: Settlement, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    three = conflict.conflicts[0].row
    decisions = [
        decided(Remedy.RESTORE, 1),
        decided(Remedy.KEEP, 2, table="stock", row=three),
    ]
    settlement = await phase_two.rollback(xid, decisions)
    assert settlement.carried_out == (CarriedOut(1, 1), CarriedOut(2, 1))
    assert sql(AMOUNTS).strip() == "100,100,43,100"


@pytest.mark.parametrize(
    ("statement", "outsider", "after_restore"),
    [
        ("INSERT INTO stock VALUES (9, 1, 'n')", "UPDATE stock SET amount = 2 WHERE id = 9", "[]"),
        ("DELETE FROM stock WHERE id = 1", "INSERT INTO stock VALUES (1, 5, 'z')", "[1:100:a]"),
        (
            "UPDATE stock SET amount = 0, note = 'q' WHERE id = 1",
            "DELETE FROM stock WHERE id = 1",
            "[1:100:a]",
        ),
    ],
    ids=["insert", "delete", "update of all columns"],
)
async def test_every_kind_of_change_can_be_restored_over_what_stands_there(
    application: Make,
    phase_two: PhaseTwo,
    sql: Sql,
    xid: Xid,
    statement: str,
    outsider: str,
    after_restore: str,
) -> None:
    sql(STOCK)
    app = application(xid)
    await app.execute(statement)
    await app.commit()
    sql(outsider)
    assert (await phase_two.rollback(xid)).state is State.CONFLICT
    settlement = await phase_two.rollback(xid, [decided(Remedy.RESTORE)])
    assert settlement.state is State.ROLLED_BACK, settlement.message
    query = "SELECT CONCAT('[', IFNULL(GROUP_CONCAT(CONCAT_WS(':', id, amount, note)), ''), ']') FROM stock"
    assert (
        sql(f"{query} WHERE id IN (1, 9) AND id = {1 if '1:' in after_restore else 9}").strip()
        == after_restore
    )


async def test_a_row_that_is_gone_cannot_be_made_from_some_of_its_columns(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql(STOCK)
    app = application(xid)
    await app.execute("UPDATE stock SET amount = 1 WHERE id = 1")
    await app.commit()
    sql("DELETE FROM stock WHERE id = 1")
    settlement = await phase_two.rollback(xid, [decided(Remedy.RESTORE)])
    assert settlement.state is State.CONFLICT
    assert "only what the transaction changed of it was recorded (note was not)" in settlement.message
    assert settlement.carried_out == (CarriedOut(1, 0),)
    sql("INSERT INTO stock VALUES (1, 8, 'by hand')")
    assert (await phase_two.rollback(xid, [decided(Remedy.RESTORE)])).state is State.ROLLED_BACK
    assert sql("SELECT amount, note FROM stock WHERE id = 1").split(None, 1) == ["100", "by hand\n"]


async def test_restore_never_takes_rows_of_others_along(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql("""
    CREATE TABLE parent (id INT PRIMARY KEY, name INT);
    CREATE TABLE child (id INT PRIMARY KEY, parent INT,
      FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE);
    """)
    app = application(xid)
    await app.execute("INSERT INTO parent VALUES (1, 1)")
    await app.commit()
    sql("UPDATE parent SET name = 2; INSERT INTO child VALUES (7, 1)")
    settlement = await phase_two.rollback(xid, [decided(Remedy.RESTORE)])
    assert settlement.state is State.CONFLICT
    assert "hang on it" in settlement.message
    assert sql("SELECT COUNT(*) FROM child").strip() == "1"
    assert (await phase_two.rollback(xid, [decided(Remedy.KEEP)])).state is State.ROLLED_BACK
    assert sql("SELECT COUNT(*) FROM child, parent").strip() == "1"


async def test_what_cannot_be_read_or_is_no_more_can_still_be_kept(
    application: Make, phase_two: PhaseTwo, sql: Sql, xid: Xid
) -> None:
    sql(STOCK + "CREATE TABLE gone (id INT PRIMARY KEY, a INT); INSERT INTO gone VALUES (1, 1);")
    app = application(xid)
    await app.execute("UPDATE stock SET amount = 1 WHERE id = 1")
    await app.execute("UPDATE gone SET a = 2")
    await app.commit()
    sql("UPDATE globaltx_undo SET before_image = 'unreadable' WHERE table_name = 'stock'; DROP TABLE gone")
    settlement = await phase_two.rollback(xid, [decided(Remedy.RESTORE)])
    assert settlement.conflicts_total == 2
    assert {each.table for each in settlement.conflicts} == {"stock", "gone"}
    settlement = await phase_two.rollback(xid, [decided(Remedy.KEEP)])
    assert (settlement.state, settlement.carried_out) == (State.ROLLED_BACK, (CarriedOut(1, 2),))
    assert sql(RECORDS).strip() == "0"


async def test_masked_values_are_nowhere(
    application: Make, database: Database, schemas: CachedSchemas, sql: Sql, xid: Xid
) -> None:
    """Not in the row, its key, its sentence, nor in what the server itself says."""
    database.datasource = replace(
        database.datasource, sensitive_columns=("Customers.IBAN", "*.password", "keyed.name")
    )
    phase_two = PhaseTwo(database, schemas)
    sql("""
    CREATE TABLE customers (id INT PRIMARY KEY, iban VARCHAR(40), password VARCHAR(40), city VARCHAR(40));
    CREATE TABLE keyed (name VARCHAR(40) PRIMARY KEY, a INT);
    CREATE TABLE uniq (id INT PRIMARY KEY, password VARCHAR(40) UNIQUE);
    INSERT INTO customers VALUES (1, 'SECRET-1', 'SECRET-2', 'Ulm');
    INSERT INTO keyed VALUES ('SECRET-3', 1);
    INSERT INTO uniq VALUES (1, 'SECRET-4');
    """)
    app = application(xid)
    await app.execute("UPDATE customers SET iban = 'SECRET-5', password = 'SECRET-6', city = 'Köln'")
    await app.execute("UPDATE keyed SET a = 2 WHERE name = 'SECRET-3'")
    await app.execute("UPDATE uniq SET password = 'SECRET-7'")
    await app.commit()
    sql("UPDATE customers SET iban = 'SECRET-1', password = 'SECRET-8', city = 'Bonn'")
    sql("UPDATE keyed SET a = 3")
    sql("INSERT INTO uniq VALUES (2, 'SECRET-4')")  # the restored row would be its duplicate
    settlement = await phase_two.rollback(xid)
    assert settlement.conflicts_total == 3
    assert "SECRET" not in repr(settlement)
    rows = {each.table: each for each in settlement.conflicts}
    assert rows["customers"].columns == (
        ColumnConflict("iban", "(masked)", "(masked)", "(masked, as before)"),
        ColumnConflict("password", "(masked)", "(masked)", "(masked)"),
        ColumnConflict("city", "'Ulm'", "'Köln'", "'Bonn'"),
    )
    assert rows["keyed"].key == "name=(masked)"
    assert "error 1062 (its text may hold masked values)" in rows["uniq"].problem


def _cut_off() -> DatasourceUnavailableError:
    return DatasourceUnavailableError("cut off")


class Cut(Database):
    """A database whose connection breaks at a statement: before it is sent, or before its answer comes."""

    at: int
    answered: bool
    count = 0

    @contextlib.asynccontextmanager
    async def session(self, lock_wait_seconds: int = LOCK_WAIT_SECONDS) -> AsyncIterator[Any]:
        async with super().session(lock_wait_seconds) as session:
            yield _Cut(self, session)


class _Cut:
    def __init__(self, database: Cut, session: Session) -> None:
        self._database = database
        self._session = session

    async def rows(self, sql: str, arguments: Sequence[object] | None = None) -> Sequence[Row]:
        self._database.count += 1
        here = self._database.count == self._database.at
        if here and not self._database.answered:
            raise _cut_off()
        rows = await self._session.rows(sql, arguments)
        if here:
            raise _cut_off()
        return rows


@pytest.mark.parametrize("answered", [False, True], ids=["before", "after"])
async def test_cut_off_at_any_statement_a_decision_is_carried_out_once(
    application: Make,
    database: Database,
    schemas: CachedSchemas,
    sql: Sql,
    xid: Xid,
    tmp_path: Any,
    *,
    answered: bool,
) -> None:
    sql(STOCK)
    cut = Cut(database.datasource, str(tmp_path))
    cut.answered, at, whole = answered, 0, False
    while not whole:
        at += 1
        mine = Xid("tests", f"{xid.name}-{answered}-{at}".lower())
        sql("UPDATE stock SET amount = 100")
        app = application(mine)
        await app.execute("UPDATE stock SET amount = 90 WHERE id < 4")
        await app.commit()
        sql("UPDATE stock SET amount = 40 + id WHERE id IN (2, 3)")
        rows = {each.key: each.row for each in (await PhaseTwo(database, schemas).rollback(mine)).conflicts}
        decisions = [
            decided(Remedy.KEEP, 1, table="stock", row=rows["id=2"]),
            decided(Remedy.RESTORE, 2, table="stock", row=rows["id=3"]),
        ]
        cut.at, cut.count, whole = at, 0, True
        try:
            await PhaseTwo(cut, schemas).rollback(mine, decisions)
        except DatasourceUnavailableError:
            whole = False
        carried_out = sql(RECORDS).strip() == "0"
        assert sql(AMOUNTS).strip() == ("100,42,100,100" if carried_out else "100,42,43,100"), at
        if carried_out:
            sql("UPDATE stock SET amount = 77 WHERE id = 3")  # the row is free: this is nobody's conflict
        settlement = await PhaseTwo(database, schemas).rollback(mine, decisions)
        assert (settlement.state, settlement.reason) == (State.ROLLED_BACK, "ResolvedByPerson")
        assert sql(AMOUNTS).strip() == ("100,42,77,100" if carried_out else "100,42,100,100"), at
    assert at > 8
    cut.close()
