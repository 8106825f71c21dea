from __future__ import annotations

import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.xid import Xid
from globaltx.undo import join, locks, plan, refusal, statement
from globaltx.undo.forms import Answers
from globaltx.undo.plan import Ok
from globaltx.undo.refusal import RefusedError, RowsMissedError
from globaltx.undo.shape import NoSuchColumnError
from globaltx.undo.sqlmode import SqlMode
from tests.undo import goldens
from tests.undo.shapes import STOCK, TABLES

_MODE = SqlMode()
XID = Xid("shop", "01h")


def _plan(sql: str, *, mode: SqlMode = _MODE, parameters: tuple[int | None, ...] = ()) -> plan.Plan:
    change = statement.analyse(sql.encode())
    if isinstance(change, statement.Joined):
        shapes = {each: TABLES[each.table.name] for each in join.described(change)}
        return join.make(change, shapes, mode, parameters)
    assert isinstance(change, (statement.Insert, statement.Update, statement.Delete))
    return plan.make_plan(change, TABLES[change.table.name], mode, parameters)


def _react(question: str) -> str:  # noqa: PLR0911  one for each kind of plan
    """The image query, and what is sent for two rows where the statement itself might choose others.

    For an INSERT whose first generated key is 7: the rows of its undo INSERT.
    """
    try:
        planned = _plan(question)
    except (RefusedError, NoSuchColumnError) as refused:
        return str(refused)
    if isinstance(planned, plan.InsertPlan) and planned.image and planned.statement:
        return f"{planned.image.decode()}\n{planned.statement.decode()}"
    if isinstance(planned, plan.GeneratedPlan):
        return f"{planned.image.decode()}\n{planned.behind.decode()}"
    if isinstance(planned, plan.SelectedPlan):
        return planned.image.decode()
    if planned.image is not None and (planned.answers is Answers.ROW or isinstance(planned, plan.UpsertPlan)):
        return planned.image.decode()
    if isinstance(planned, plan.JoinPlan):
        narrowed = planned.narrowed([(b"0", b"5", b'{"id": [5]}')] * 2 + [(b"0", None, b"{}")]).decode()
        return f"{planned.image.decode()}\nholds for {planned.answers}: {narrowed}"
    if isinstance(planned, plan.ImagePlan | plan.MovePlan):
        narrowed = planned.narrowed([(b"5", b'{"id": [5]}'), (b"6", b'{"id": [6]}')]).decode()
        return f"{planned.image.decode()}\nholds for {planned.answers}: {narrowed}"
    assert isinstance(planned, (plan.InsertPlan, plan.UpsertPlan))
    records = planned.records([], Ok(affected_rows=len(planned.rows), insert_id=7))
    text = locks.undo_insert("shop", XID, records).decode()
    return text.split(" VALUES ", 1)[1].rsplit(",(X'',", 1)[0]


def test_plans() -> None:
    goldens.check("plans.txt", _react)


def test_undo_insert() -> None:
    """One statement of ASCII without a semicolon: the fence, then the rows."""
    update = _plan("UPDATE stock SET amount = 1").records(
        [
            (b"5", b'{"id": [5], "amount": [3]}'),
            (b"6", b'{"id": [6], "amount": [null], "note": ["\xc3\xa9;\'"]}'),
        ],
        Ok(1, info=b"Rows matched: 2  Changed: 1  Warnings: 0"),
    )
    delete = _plan("DELETE FROM stock").records([(b"7", b'{"id": [7]}')], Ok(1))
    text = locks.undo_insert("shop", XID, [*update, *delete])
    taken_over = locks.undo_insert("shop", XID, delete, committed=[Xid("shop", "01g"), Xid("shop", "01f")])
    whole = locks.undo_insert("shop", XID, delete, committed=[Xid("shop", "01f")], whole=True)
    told = {"plain": text, "taken over": taken_over, "whole": whole + b"; " + locks.stop_at_conflict("shop")}
    goldens.check("undo_inserts.txt", lambda name: told[name].decode())
    assert b";" not in text + taken_over


@pytest.mark.parametrize(
    "ok", [Ok(2, info=b"Rows matched: 3  Changed: 2"), Ok(1, info=b"Rows matched: 1"), Ok(3)], ids=repr
)
def test_an_update_that_met_other_rows_is_noticed(ok: Ok) -> None:
    rows = [(b"5", b'{"id": [5]}'), (b"6", b'{"id": [6]}')]
    with pytest.raises(RowsMissedError):
        _plan("UPDATE stock SET amount = 1").records(rows, ok)


def test_rows_that_were_matched_but_not_changed_are_no_surprise() -> None:
    found = _plan("UPDATE stock SET amount = 1").records(
        [(b"5", b'{"id": [5]}')], Ok(0, info="Zutreffende Zeilen: 1  Geändert: 0".encode())
    )
    assert len(found) == 1


@pytest.mark.parametrize(("affected", "insert_id"), [(1, 7), (3, 7), (2, 0)])
def test_an_insert_that_wrote_other_rows_is_noticed(affected: int, insert_id: int) -> None:
    with pytest.raises(RowsMissedError):
        _plan("INSERT INTO stock (amount) VALUES (1), (2)").records([], Ok(affected, insert_id))


def test_too_many_rows_are_refused() -> None:
    rows = [(b"5", b'{"id": [5]}')] * (plan.ROWS_MAX + 1)
    with pytest.raises(RefusedError, match="at most"):
        _plan("DELETE FROM stock").records(rows, Ok(len(rows)))


def test_an_image_that_is_none_is_refused() -> None:
    with pytest.raises(RefusedError, match="collation_connection"):
        _plan("DELETE FROM stock").records([(b"5", b'{"id": \0[\0')], Ok(1))


def test_records_that_fit_into_no_packet_are_refused() -> None:
    rows = [(b"5", b'{"id": [5], "note": ["%s"]}' % (b"\xc3\xa9" * 1024 * 1024))] * 5
    records = _plan("DELETE FROM stock").records(rows, Ok(5))
    with pytest.raises(RefusedError, match="fewer rows"):
        locks.undo_insert("shop", XID, records)


def test_zero_is_a_key_only_where_the_mode_says_so() -> None:
    generated = _plan("INSERT INTO stock (id) VALUES (?)", parameters=(0,)).records([], Ok(1, 7))
    given = _plan(
        "INSERT INTO stock (id) VALUES (?)", mode=SqlMode.of("NO_AUTO_VALUE_ON_ZERO"), parameters=(0,)
    ).records([], Ok(1, 0))
    assert (generated[0].key, given[0].key) == (("7",), ("0",))


@pytest.mark.parametrize(
    ("value", "xid"),
    [
        (b"shop.01g", Xid("shop", "01g")),
        (b"!shop.01h", Xid("shop", "01h")),
        (None, None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_holder_is_read(value: bytes | None, xid: Xid | None) -> None:
    assert locks.holder(value) == xid


def test_every_reason_is_known_above() -> None:
    words = {
        refusal.STATEMENT_NOT_UNDOABLE,
        refusal.NO_PRIMARY_KEY,
        refusal.INVALID_XID,
        refusal.LOCK_CONFLICT,
        refusal.ROW_CHANGED,
    }
    assert words <= {str(reason) for reason in Reason}


def test_the_shape_names_columns_in_any_case() -> None:
    assert STOCK.column("AMOUNT").name == "amount"


def test_the_servers_own_hints_stay_in_what_is_written_anew() -> None:
    planned = _plan("UPDATE /*+ NO_MERGE(s) */ stock SET amount = 1 /* why */ LIMIT 1")
    assert isinstance(planned, plan.ImagePlan)
    assert planned.narrowed([]) == b"UPDATE /*+ NO_MERGE(s) */ stock SET amount = 1    WHERE 1=0 "


def test_generated_keys_that_cannot_be_told_from_those_that_are_there_are_given_up() -> None:
    planned = _plan("INSERT INTO stock (amount) SELECT place FROM seat")
    found = [(b"8", b'{"id": [8]}', b"8"), (b"11", b'{"id": [11]}', b"11")]
    for largest in (b"7", None):
        records = planned.records([(largest,), *found], Ok(2, insert_id=8))
        assert [record.key for record in records] == [("8",), ("11",)]
        assert all(record.before is None for record in records)
    assert planned.records([(b"9",), *found], Ok(0, insert_id=0)) == ()
    for rows, count in (([(b"8",), *found], 2), ([(b"7",), *found], 3), ([(b"7",)], 1)):
        with pytest.raises(RowsMissedError):
            planned.records(rows, Ok(count, insert_id=8))
    with pytest.raises(RefusedError):
        planned.records([(b"7",), *found], Ok(plan.ROWS_MAX + 1, insert_id=8))


def test_rows_that_a_select_has_given_otherwise_than_it_did_before_are_given_up() -> None:
    planned = _plan("INSERT INTO stock (id) SELECT id + 5 FROM seat")
    rows = [(b"36", b"6"), (b"37", b"7")]
    assert [record.key for record in planned.records(rows, Ok(2))] == [("6",), ("7",)]
    with pytest.raises(RowsMissedError):
        planned.records(rows, Ok(1))
    for cell in ((None, None), (b"35", b"1"), (b"352E35", b"5.5"), (b"35", None), (b"30", b"0")):
        with pytest.raises(RefusedError):
            planned.records([cell], Ok(1))


def test_what_a_select_gives_is_looked_for_in_every_unique_key() -> None:
    planned = _plan("REPLACE INTO seat (id, mail) SELECT id, note FROM stock")
    assert isinstance(planned, plan.SelectedPlan)
    columns = [column.name for column in planned.asked]
    assert columns == ["id", "mail"], "the unique key over place and room gets NULL"
    upsert = planned.upsert([(b"35", b"5", b"61", b"utf8mb4"), (b"36", b"6", None, None)])
    assert upsert.image is not None
    assert b"`id` IN (5,6)" in upsert.image
    assert b"`mail` IN (_utf8mb4 X'61')" in upsert.image
    assert planned.upsert([]).image is None
