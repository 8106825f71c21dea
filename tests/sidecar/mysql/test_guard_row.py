"""Guard rows on real servers through real clients: what is done, what is not, and what is committed of it."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT

from globaltx.modes.guard_row import Finding
from globaltx.modes.tcc import Operation
from globaltx.transaction.model import BranchId
from tests.sidecar.mysql.guarding import (
    ADD,
    BRANCH,
    DONE_BEFORE,
    GIVE_WAY,
    NOTHING_TO_TAKE_BACK,
    REFUSED,
    TOO_LATE,
    Guarding,
    guarded,
)
from tests.sidecar.mysql.harness import Proxy, hint, in_transaction, wait_until

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Place

pytestmark = pytest.mark.database

PAIRS = [("try", "cancel"), ("step", "compensate")]


@pytest.mark.parametrize("operation", list(Operation))
def test_a_call_is_worked_for_once(bank: Guarding, operation: str) -> None:
    if operation in {"cancel", "compensate"}:
        assert bank.work("try" if operation == "cancel" else "step", "SELECT {hint} 1") == 0
    assert (bank.work(operation), bank.amount) == (0, 1)
    assert bank.said(operation) is Finding.FIRST
    for _ in range(2):
        assert (bank.work(operation), bank.amount) == (DONE_BEFORE, 1)
        assert bank.said(operation) is Finding.REPEATED


@pytest.mark.parametrize(("first", "back"), PAIRS)
def test_what_takes_back_finds_what_was_done(bank: Guarding, first: str, back: str) -> None:
    assert (bank.work(first), bank.work(back), bank.amount) == (0, 0, 2)


@pytest.mark.parametrize(("first", "back"), PAIRS)
def test_nothing_is_taken_back_that_never_was_and_it_never_will_be(
    bank: Guarding, first: str, back: str
) -> None:
    assert (bank.work(back), bank.amount) == (NOTHING_TO_TAKE_BACK, 0)
    assert bank.said(back) is Finding.EMPTY
    assert bank.guard_rows == sorted([(first, back), (back, back)])
    assert (bank.work(first), bank.amount) == (TOO_LATE, 0)
    assert bank.said(first) is Finding.LATE
    assert (bank.work(back), bank.amount) == (DONE_BEFORE, 0)


def test_calls_of_other_branches_and_operations_are_others(bank: Guarding) -> None:
    other = BranchId(BRANCH.xid, BRANCH.app, "debit.2")
    assert [bank.work("try"), bank.work("try", branch=other), bank.work("confirm")] == [0, 0, 0]
    assert bank.amount == 3


def test_what_was_rolled_back_was_not_done(bank: Guarding) -> None:
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(ADD.format(hint=guarded("confirm")))
        connection.rollback()
    assert (bank.work("confirm"), bank.amount) == (0, 1)


def test_what_the_server_never_heard_the_end_of_was_not_done(bank: Guarding) -> None:
    connection = bank.connect(autocommit=False)
    connection.cursor().execute(ADD.format(hint=guarded("confirm")))
    connection._force_close()  # the application dies
    assert (bank.work("confirm"), bank.amount) == (0, 1)


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize(
    ("operation", "beside", "then"),
    [
        ("confirm", "confirm", {"commit": (DONE_BEFORE, 1), "rollback": (0, 1)}),
        ("try", "cancel", {"commit": (0, 2), "rollback": (NOTHING_TO_TAKE_BACK, 0)}),
    ],
)
def test_two_side_by_side_wait_for_each_other(
    bank: Guarding, operation: str, beside: str, then: dict[str, tuple[int, int]], ends: str
) -> None:
    codes: list[int] = []
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(ADD.format(hint=guarded(operation)))
        second = threading.Thread(target=lambda: codes.append(bank.work(beside)))
        second.start()
        wait_until(lambda: waiting(bank.place))
        assert codes == []
        getattr(connection, ends)()
    second.join(20)
    assert (codes, bank.amount) == ([then[ends][0]], then[ends][1])


def waiting(place: Place) -> bool:
    """Whether a guard row is waited for."""
    running = place.rows("SELECT INFO FROM information_schema.PROCESSLIST WHERE COMMAND = 'Query'")
    return any(str(info).startswith("INSERT IGNORE INTO") for (info,) in running)


def test_many_at_once_have_one_effect(bank: Guarding) -> None:
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(bank.work("confirm"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (codes.count(0), len(codes), bank.amount) == (1, 8, 1)


def test_without_a_guard_the_same_is_done_twice(bank: Guarding) -> None:
    for _ in range(2):
        with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
            cursor.execute(ADD.format(hint=""))
            connection.commit()
    assert bank.amount == 2


def test_only_the_first_statement_needs_the_hint_and_the_others_may_have_it(bank: Guarding) -> None:
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {guarded('confirm')} amount FROM item WHERE id = 1 FOR UPDATE")
        assert cursor.fetchall() == ((100,),)
        cursor.execute("UPDATE item SET amount = 101 WHERE id = 1")
        cursor.execute("SAVEPOINT a")
        cursor.execute(f"INSERT {guarded('confirm')} INTO item (name) VALUES ('new')")
        assert cursor.lastrowid == 4
        cursor.execute("ROLLBACK TO a")
        connection.commit()
    assert (bank.amount, bank.guard_rows) == (1, [("confirm", "confirm")])


def test_prepared_statements_are_guarded(bank: Guarding) -> None:
    import mysql.connector  # noqa: PLC0415  only here

    def work() -> Any:
        with closing(
            mysql.connector.connect(
                host="127.0.0.1", port=bank.port, user="app", password="let me in", database=bank.place.schema
            )
        ) as connection:
            cursor = connection.cursor(prepared=True)
            change = f"UPDATE {guarded('confirm')} item SET amount = amount + ? WHERE id = ?"
            cursor.execute(change, (1, 1))
            connection.commit()
            return cursor.rowcount

    assert work() == 1
    with pytest.raises(mysql.connector.Error) as error:
        work()
    assert (error.value.errno, bank.amount) == (DONE_BEFORE, 1)


MISPLACED = [
    (["SET autocommit = 1", "SELECT {hint} 1"], "begin a local transaction"),
    (["INSERT INTO item (name) VALUES ('x')", ADD], "written"),
    (["SAVEPOINT a", ADD], "savepoint"),
    ([ADD, ADD.replace("{hint}", guarded("try"))], "already"),
    ([f"UPDATE {hint(BRANCH.xid)} {{hint}} item SET amount = 1"], "xid"),
    ([ADD.replace("{hint}", "/*+ XidGuard('shop.a') */")], "globaltx-guard"),
    ([ADD.replace("{hint}", "/*+ XidGuard('shop.a/b/undo') */")], "globaltx-guard"),
]


@pytest.mark.parametrize(("statements", "why"), MISPLACED)
def test_a_guard_that_would_not_be_exact_is_refused(bank: Guarding, statements: list[str], why: str) -> None:
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        for statement in statements[:-1]:
            cursor.execute(statement.format(hint=guarded("confirm")))
        with pytest.raises(pymysql.MySQLError, match=why) as error:
            cursor.execute(statements[-1].format(hint=guarded("confirm")))
        assert error.value.args[0] == REFUSED
        assert "GuardMisplaced" in error.value.args[1]
        connection.rollback()


PAST_THE_END = [
    f"{ADD}; COMMIT; {{more}}",
    f"{ADD}; ROLLBACK; {{more}}",
    f"{ADD}; BEGIN; {{more}}",
    f"{ADD}; START TRANSACTION; {{more}}; COMMIT",
    f"BEGIN; {ADD}; COMMIT",
    f"{ADD}; SET autocommit = 1; {{more}}",
    f"{ADD}; SET `autocommit` = 1; {{more}}",
    f"{ADD}; CREATE TABLE made (id INT); {{more}}",
    f"{ADD}; /*!50000 COMMIT */; {{more}}",
    f"{ADD}; CALL made(); {{more}}",
    f"SET sql_mode = 'ANSI_QUOTES'; {ADD}",
]
MORE = "UPDATE item SET amount = amount + 1 WHERE id = 2"


@pytest.mark.parametrize("text", PAST_THE_END)
def test_work_behind_the_end_of_the_local_transaction_in_one_text_is_refused(
    bank: Guarding, text: str
) -> None:
    """It would be of another local transaction, without its row, and be done again by a repeat."""
    with bank.connect(autocommit=False, client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        with connection.cursor() as cursor:
            with pytest.raises(pymysql.MySQLError, match=r"GuardMisplaced.*one text") as error:
                cursor.execute(text.format(hint=guarded("confirm"), more=MORE))
            assert error.value.args[0] == REFUSED
            connection.rollback()
            assert bank.guard_rows == []
            cursor.execute(ADD.format(hint=guarded("confirm")))
            with pytest.raises(pymysql.MySQLError, match=r"GuardMisplaced.*one text"):
                cursor.execute(text.format(hint=guarded("confirm"), more=MORE))
        connection.rollback()
    assert bank.place.rows("SELECT amount FROM item") == [(100,), (200,), (300,)]


@pytest.mark.parametrize(
    "text",
    [
        f"{ADD}; COMMIT",
        f"{ADD}; COMMIT; -- so it is",
        f"{ADD}; {MORE}; UPDATE item SET amount = amount - 1 WHERE id = 2; COMMIT;",
        f"SET @a = 1; {ADD}; (SELECT 1); SHOW TABLES; DO 1; COMMIT",
        f"{ADD}; SAVEPOINT a; {MORE}; ROLLBACK TO a; {MORE}; ROLLBACK WORK TO SAVEPOINT a; COMMIT",
        f"INSERT {{hint}} INTO item (name) VALUES ('; COMMIT;'); {ADD}; COMMIT",
    ],
)
def test_the_last_of_one_text_may_end_the_local_transaction(bank: Guarding, text: str) -> None:
    for time in range(2):
        with bank.connect(autocommit=False, client_flag=CLIENT.MULTI_STATEMENTS) as connection:
            assert all_of(connection, text.format(hint=guarded("confirm"))) == (DONE_BEFORE if time else 0)
    assert (bank.amount, bank.guard_rows) == (1, [("confirm", "confirm")])
    assert bank.place.rows("SELECT amount FROM item WHERE id = 2") == [(200,)]


def all_of(connection: Any, text: str) -> int:
    """Run all statements of a text; the error's number, 0 for none."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(text)
            while cursor.nextset():
                pass
        except pymysql.MySQLError as error:
            return int(error.args[0])
    return 0


def test_a_savepoint_or_a_write_of_the_last_local_transaction_is_over(bank: Guarding) -> None:
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SAVEPOINT a")
        cursor.execute("INSERT INTO item (name) VALUES ('x')")
        connection.commit()
        cursor.execute(ADD.format(hint=guarded("confirm")))
        connection.commit()
    assert bank.amount == 1


def test_a_datasource_that_guards_no_calls_says_so(proxy: Proxy) -> None:
    with (
        proxy.connect(autocommit=False) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.MySQLError, match="guardCalls"),
    ):
        cursor.execute(ADD.format(hint=guarded("confirm")))


def test_a_missing_table_is_named(bank: Guarding) -> None:
    bank.place.run("DROP TABLE globaltx_guard")
    with (
        bank.connect(autocommit=False) as connection,
        connection.cursor() as cursor,
        pytest.raises(pymysql.MySQLError, match="GuardTableMissing"),
    ):
        cursor.execute(ADD.format(hint=guarded("confirm")))


@pytest.mark.parametrize("sql", [ADD, "SELECT {hint} 1"])
@pytest.mark.parametrize(
    "end",
    [
        *("COMMIT", "COMMIT AND CHAIN", "BEGIN", "START TRANSACTION", "SET autocommit = 1"),
        "CREATE TABLE made (id INT PRIMARY KEY)",
    ],
)
def test_on_one_connection_too(bank: Guarding, sql: str, end: str) -> None:
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(sql.format(hint=guarded("confirm")))
        cursor.execute(end)
        cursor.execute("SET autocommit = 0")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(ADD.format(hint=guarded("confirm")))
    assert error.value.args[0] == DONE_BEFORE


def test_what_was_not_committed_is_never_taken_for_done(bank: Guarding) -> None:
    """Who has lost sight of the local transaction meets its own row."""
    with bank.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(ADD.format(hint=guarded("confirm")))
        with pytest.raises(pymysql.MySQLError, match="syntax"):
            cursor.execute("BEGIN ANEW")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(ADD.format(hint=guarded("confirm")))
        assert error.value.args[0] == GIVE_WAY
        assert bank.said("confirm") is Finding.FIRST
        assert not in_transaction(connection)
    assert (bank.work("confirm"), bank.amount) == (0, 1)
