"""Guarded calls whose work is one statement in autocommit: both it and its row are there, or neither."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest

from globaltx.modes.guard_row import Finding
from tests.sidecar.mysql.guarding import (
    ADD,
    DONE_BEFORE,
    NOTHING_TO_TAKE_BACK,
    REFUSED,
    TOO_LATE,
    Guarding,
    by_connector,
    guarded,
)
from tests.sidecar.mysql.harness import hint, in_transaction, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sidecar.mysql.harness import Place

pytestmark = pytest.mark.database
DUPLICATE, WAITED = 1062, 1205


@pytest.fixture
def app(bank: Guarding) -> Iterator[Any]:
    with bank.connect(autocommit=True) as connection:
        yield connection


def run(connection: Any, operation: str, sql: str = ADD) -> int:
    """Do a call's work; give the error's number, 0 for none. No local transaction is left open."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql.format(hint=guarded(operation)))
        except pymysql.MySQLError as error:
            assert not in_transaction(connection)
            return int(error.args[0])
    assert not in_transaction(connection)
    return 0


@pytest.mark.parametrize("operation", ["try", "confirm", "step"])
def test_a_call_is_worked_for_once(bank: Guarding, app: Any, operation: str) -> None:
    assert (run(app, operation), bank.amount) == (0, 1)
    assert bank.said(operation) is Finding.FIRST
    assert (run(app, operation), bank.amount) == (DONE_BEFORE, 1)
    assert bank.said(operation) is Finding.REPEATED


@pytest.mark.parametrize(("first", "back"), [("try", "cancel"), ("step", "compensate")])
def test_nothing_is_taken_back_that_never_was(bank: Guarding, app: Any, first: str, back: str) -> None:
    assert (run(app, back), bank.amount) == (NOTHING_TO_TAKE_BACK, 0)
    assert (run(app, first), bank.amount) == (TOO_LATE, 0)
    assert bank.said(first) is Finding.LATE


def test_what_takes_back_finds_what_was_done(bank: Guarding, app: Any) -> None:
    assert (run(app, "try"), run(app, "cancel"), bank.amount) == (0, 0, 2)


@pytest.mark.parametrize(
    "sql", ["INSERT {hint} INTO item (id) VALUES (7), (1)", "UPDATE {hint} item SET nothing = 1"]
)
def test_of_a_statement_that_fails_there_is_no_row(bank: Guarding, app: Any, sql: str) -> None:
    assert run(app, "confirm", sql) != 0
    assert bank.guard_rows == []
    assert bank.place.rows("SELECT id FROM item WHERE id = 7") == []
    assert (run(app, "confirm"), bank.amount) == (0, 1)


def test_the_answer_is_the_statements_own(bank: Guarding, app: Any) -> None:
    with app.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        insert = f"INSERT {guarded('try')} INTO item (name) VALUES (REPEAT('x', 100)), (';')"
        assert cursor.execute(insert) == 2
        assert cursor.lastrowid == 4
        cursor.execute("SHOW WARNINGS")
        assert [row[1] for row in cursor.fetchall()] == [1265]
        cursor.execute("SELECT ROW_COUNT(), @@warning_count")
    with app.cursor() as cursor:
        assert cursor.execute(ADD.format(hint=guarded("confirm"))) == 1
        cursor.execute("SELECT ROW_COUNT()")
        assert cursor.fetchall() == ((1,),)
    assert bank.guard_rows == [("confirm", "confirm"), ("try", "try")]


def test_who_waits_for_a_row_in_vain_leaves_nothing_open(bank: Guarding, app: Any) -> None:
    with app.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
    with bank.connect(autocommit=False) as holder, holder.cursor() as cursor:
        cursor.execute(ADD.format(hint=guarded("confirm")))
        assert run(app, "confirm") == WAITED
        holder.rollback()
    assert (run(app, "confirm"), bank.amount) == (0, 1)


def test_many_at_once_have_one_effect(bank: Guarding) -> None:
    codes: list[int] = []

    def work() -> None:
        with bank.connect(autocommit=True) as connection:
            codes.append(run(connection, "confirm"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(codes) == [0, *[DONE_BEFORE] * 7]
    assert bank.amount == 1


def test_who_dies_with_the_statement_has_done_nothing(bank: Guarding, app: Any) -> None:
    """The database loses the connection while the statement waits: neither row nor work is there."""
    with bank.place.connect(autocommit=False) as holder, holder.cursor() as cursor:
        cursor.execute("UPDATE item SET amount = amount WHERE id = 1")
        failed: list[int] = []
        calling = threading.Thread(target=lambda: failed.append(_number(app)))
        calling.start()
        wait_until(lambda: waiting(bank.place) is not None)
        cursor.execute(f"KILL {waiting(bank.place)}")
        calling.join(20)
        holder.rollback()
    assert failed[0] != 0
    assert bank.guard_rows == []
    assert (bank.work("confirm"), bank.amount) == (0, 1)


def _number(connection: Any) -> int:
    try:
        with connection.cursor() as cursor:
            return int(bool(cursor.execute(ADD.format(hint=guarded("confirm"))))) - 1
    except pymysql.MySQLError as error:
        return int(error.args[0])


def waiting(place: Place) -> int | None:
    """The connection whose guarded statement waits for a row."""
    running = place.rows("SELECT ID, INFO FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query'")
    return next((each for each, info in running if "amount + 1" in str(info) and "PROCESS" not in info), None)


@pytest.fixture
def drive(bank: Guarding) -> Iterator[Any]:
    with closing(by_connector(bank, autocommit=True)) as connection:
        yield connection


def prepared(connection: Any, sql: str, *values: tuple[Any, ...]) -> int:
    """Prepare a statement, and execute it with each of the values; the error's number, 0 for none."""
    with closing(connection.cursor(prepared=True)) as cursor:
        try:
            for each in values:
                cursor.execute(sql, each)
        except mysql.connector.Error as error:
            return int(error.errno or 0)
    return 0


def test_prepared_statements_are_guarded(bank: Guarding, drive: Any) -> None:
    change = f"UPDATE {guarded('confirm')} item SET amount = amount + ? WHERE id = ?"
    assert (prepared(drive, change, (1, 1)), bank.amount) == (0, 1)
    bank.said("confirm")  # it was answered
    assert (prepared(drive, change, (1, 1)), bank.amount) == (DONE_BEFORE, 1)
    assert bank.said("confirm") is Finding.REPEATED
    assert not drive.in_transaction


@pytest.mark.parametrize(("again", "code"), [((1, 1), DONE_BEFORE), ((1, 2), REFUSED)])
def test_other_values_are_other_work(bank: Guarding, drive: Any, again: tuple[int, int], code: int) -> None:
    change = f"UPDATE {guarded('confirm')} item SET amount = amount + ? WHERE id = ?"
    assert prepared(drive, change, (1, 1), again) == code
    assert bank.place.rows("SELECT amount FROM item") == [(101,), (200,), (300,)]


def test_a_second_statement_of_a_call_is_no_repeat(bank: Guarding, app: Any) -> None:
    """What has done the half of its work must never count as done."""
    more = "UPDATE {hint} item SET amount = amount + 1 WHERE id = 2"
    assert (run(app, "confirm"), run(app, "confirm", more)) == (0, REFUSED)
    assert bank.said("confirm") is Finding.FIRST  # so that the application's own answer counts
    for each in (ADD, more):
        assert run(app, "confirm", each) == REFUSED
        assert bank.said("confirm") is Finding.FIRST
    assert bank.amount == 1


def test_the_same_statement_is_a_repeat_of_whoever_did_not_hear_the_answer(bank: Guarding, app: Any) -> None:
    assert (run(app, "confirm"), run(app, "confirm")) == (0, DONE_BEFORE)
    assert bank.said("confirm") is Finding.REPEATED


def test_a_local_transaction_behind_it_is_no_repeat_either(bank: Guarding, app: Any) -> None:
    assert run(app, "confirm") == 0
    assert bank.work("confirm", "UPDATE {hint} item SET amount = 0 WHERE id = 2") == REFUSED
    assert bank.said("confirm") is Finding.FIRST


MISPLACED = [
    *("SELECT {hint} 1", "CREATE TABLE {hint} made (id INT)", "CALL {hint} made()"),
    "DO {hint} SLEEP(0)",
    f"UPDATE {hint('shop.01jd5x7y2mtry0000000')} {{hint}} item SET amount = 1",
]


@pytest.mark.parametrize("sql", MISPLACED)
def test_what_is_no_change_of_its_own_is_refused(bank: Guarding, app: Any, sql: str) -> None:
    assert run(app, "confirm", sql) == REFUSED
    assert bank.guard_rows == []


def test_several_in_one_text_are_refused(bank: Guarding) -> None:
    flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
    with bank.connect(autocommit=True, client_flag=flags) as connection:
        assert run(connection, "confirm", f"{ADD}; {ADD}") == REFUSED
        assert (run(connection, "confirm", f"{ADD};"), bank.amount) == (0, 1)


def test_a_missing_table_leaves_nothing_open(bank: Guarding, app: Any) -> None:
    bank.place.run("DROP TABLE globaltx_guard")
    assert run(app, "confirm") == REFUSED
    assert bank.amount == 0


def test_beside_guarded_writes_it_wants_a_local_transaction(
    place: Place, credentials: Path, bank: Guarding
) -> None:
    with Guarding(place, credentials, guards=bank.heard, guards_calls=True, guards_local_writes=True) as both:
        with both.connect(autocommit=True) as connection:
            assert run(connection, "confirm") == REFUSED
        assert (both.work("confirm"), bank.amount) == (0, 1)
