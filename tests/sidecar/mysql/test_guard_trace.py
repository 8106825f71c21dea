"""Guard rows by trace: instrumentation comments every statement, and the row stands where it belongs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT

from globaltx.modes.guard_row import Finding, Guarded, create_guard_table
from globaltx.modes.tcc import Operation
from globaltx_sidecar.guards import Guards
from tests.sidecar.mysql.guarding import (
    BRANCH,
    DONE_BEFORE,
    NOTHING_TO_TAKE_BACK,
    REFUSED,
    TOO_LATE,
    Guarding,
    by_connector,
)
from tests.sidecar.mysql.harness import hint, in_transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place

pytestmark = pytest.mark.database
ADD = "UPDATE item SET amount = amount + 1 WHERE id = 1"
MORE = "UPDATE item SET amount = amount + 1 WHERE id = 2"
READ = "SELECT amount FROM item WHERE id = 1"
TRACES = {str(each): f"{number:032x}" for number, each in enumerate(Operation, 1)}


class Calls:
    """Which trace belongs to which call."""

    def xid_of(self, trace: str) -> Xid | None:
        """None belongs to a transaction."""

    def call_of(self, trace: str) -> Guarded | None:
        """The call of the operation that has this trace."""
        found = [each for each, its in TRACES.items() if its == trace]
        return Guarded.of(BRANCH, Operation(found[0])) if found else None


@pytest.fixture
def traced(place: Place, credentials: Path) -> Iterator[Guarding]:
    place.run(create_guard_table(place.schema))
    heard = Guards("shop", "bank")
    with Guarding(place, credentials, guards=heard, guards_calls=True, traces=Calls()) as running:
        running.heard = heard
        yield running


def comment(operation: str) -> str:
    span = f"{id(object()) & 0xFFFF_FFFF_FFFF:016x}"  # of each statement another one
    return f" /*db_driver='x',traceparent='00-{TRACES[operation]}-{span}-01'*/"


def run(connection: Any, operation: str, *statements: str) -> int:
    """Run statements as instrumentation sends them; the error's number, 0 for none."""
    with connection.cursor() as cursor:
        try:
            for each in statements:
                cursor.execute(each + comment(operation))
        except pymysql.MySQLError as error:
            assert not in_transaction(connection)
            return int(error.args[0])
    return 0


def work(bank: Guarding, operation: str, *statements: str) -> int:
    """Do a call's work in a local transaction, and answer the call."""
    with bank.connect(autocommit=False) as connection:
        code = run(connection, operation, *statements)
        connection.commit()
    return code


@pytest.mark.parametrize("statements", [[ADD], [READ, ADD], ["SET @a = 1", "SHOW TABLES", ADD, READ]])
@pytest.mark.parametrize("operation", ["try", "confirm", "step"])
def test_a_call_is_worked_for_once(traced: Guarding, operation: str, statements: list[str]) -> None:
    assert (work(traced, operation, *statements), traced.amount) == (0, 1)
    assert traced.said(operation) is Finding.FIRST
    assert (work(traced, operation, *statements), traced.amount) == (DONE_BEFORE, 1)
    assert traced.said(operation) is Finding.REPEATED


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize(("first", "back"), [("try", "cancel"), ("step", "compensate")])
def test_nothing_is_taken_back_that_never_was(
    traced: Guarding, first: str, back: str, *, autocommit: bool
) -> None:
    with traced.connect(autocommit=autocommit) as connection:
        assert run(connection, back, ADD) == NOTHING_TO_TAKE_BACK
        assert traced.said(back) is Finding.EMPTY
        assert run(connection, first, ADD) == TOO_LATE
        assert traced.said(first) is Finding.LATE
    assert traced.amount == 0


def test_what_finds_nothing_to_do_has_looked_behind_its_row(traced: Guarding) -> None:
    """A cancel that only reads must keep out the try that comes later."""
    assert work(traced, "cancel", READ) == NOTHING_TO_TAKE_BACK
    assert work(traced, "try", ADD) == TOO_LATE


def test_begin_and_savepoints_may_be_traced_too(traced: Guarding) -> None:
    statements = ["BEGIN", "SAVEPOINT a", ADD, "ROLLBACK TO a", "RELEASE SAVEPOINT a", MORE, "COMMIT"]
    with traced.connect(autocommit=True) as connection:
        assert run(connection, "confirm", *statements) == 0
    assert traced.guard_rows == [("confirm", "confirm")]
    assert traced.place.rows("SELECT amount FROM item") == [(100,), (201,), (300,)]


def test_in_autocommit_a_change_is_guarded_and_a_read_is_not(traced: Guarding) -> None:
    with traced.connect(autocommit=True) as connection:
        assert run(connection, "confirm", READ, "SET @a = 1") == 0
        assert traced.guard_rows == []
        assert run(connection, "confirm", ADD, READ) == 0
        assert traced.guard_rows == [("confirm", "confirm")]
        traced.said("confirm")
        assert run(connection, "confirm", READ, ADD) == DONE_BEFORE
    assert traced.amount == 1


@pytest.mark.parametrize("hidden", ["CALL made()", "DO 1", "LOAD DATA INFILE '/' INTO TABLE item"])
def test_in_autocommit_what_may_write_unseen_is_refused(traced: Guarding, hidden: str) -> None:
    with traced.connect(autocommit=True) as connection:
        assert run(connection, "confirm", hidden) == REFUSED


@pytest.mark.parametrize("text", [f"SET @a = 1; {ADD}", f"SELECT 1; {ADD}", f"BEGIN; {ADD}; COMMIT"])
def test_work_behind_something_else_in_its_text_is_guarded_or_refused(traced: Guarding, text: str) -> None:
    """Else its cancel would find nothing to take back."""
    with traced.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        assert run(connection, "try", text) == REFUSED
    assert (traced.amount, traced.guard_rows) == (0, [])
    with traced.connect(client_flag=CLIENT.MULTI_STATEMENTS, autocommit=False) as connection:
        assert run(connection, "try", text.removeprefix("BEGIN; "), "COMMIT") == 0
    assert (traced.amount, traced.guard_rows) == (1, [("try", "try")])


@pytest.mark.parametrize("text", [f"{ADD}; COMMIT; {MORE}", f"COMMIT; {ADD}", f"SAVEPOINT a; BEGIN; {MORE}"])
@pytest.mark.parametrize("first", [[], [READ]])
def test_work_behind_the_end_of_the_local_transaction_in_one_text_is_refused(
    traced: Guarding, text: str, first: list[str]
) -> None:
    with traced.connect(client_flag=CLIENT.MULTI_STATEMENTS, autocommit=False) as connection:
        with connection.cursor() as cursor:
            for each in first:
                cursor.execute(each + comment("try"))
            with pytest.raises(pymysql.MySQLError, match=r"GuardMisplaced.*one text"):
                cursor.execute(text + comment("try"))
        connection.rollback()
    assert traced.place.rows("SELECT amount FROM item") == [(100,), (200,), (300,)]
    assert traced.guard_rows == []


@pytest.mark.parametrize("text", [f"SET STATEMENT max_statement_time=60 FOR {ADD}", f"ANALYZE {ADD}"])
def test_a_change_within_another_statement_does_not_pass_unguarded(traced: Guarding, text: str) -> None:
    """As MariaDB has them; to others they are errors of syntax, which are not asked for here."""
    with traced.connect() as connection:
        assert run(connection, "try", text) == REFUSED
    assert (traced.amount, traced.guard_rows) == (0, [])


def test_a_repeat_that_nobody_has_answered_is_told_at_its_first_statement(traced: Guarding) -> None:
    """Not at its second, where it would look like more work."""
    with traced.connect(autocommit=False) as connection:
        assert run(connection, "confirm", READ, ADD) == 0
        connection.commit()
        assert run(connection, "confirm", READ, ADD) == DONE_BEFORE
    assert (traced.amount, traced.said("confirm")) == (1, Finding.REPEATED)


def test_a_read_behind_the_work_goes_on(traced: Guarding) -> None:
    """Object mappers read again what they have committed."""
    with traced.connect(autocommit=False) as connection:
        assert run(connection, "confirm", ADD) == 0
        connection.commit()
        assert run(connection, "confirm", READ) == 0
        connection.commit()
    assert traced.said("confirm") is Finding.FIRST


@pytest.mark.parametrize("autocommit", [True, False])
def test_more_work_behind_the_work_is_no_repeat(traced: Guarding, *, autocommit: bool) -> None:
    with traced.connect(autocommit=autocommit) as connection:
        assert run(connection, "confirm", ADD) == 0
        connection.commit()
        assert run(connection, "confirm", READ, MORE) == REFUSED
    assert traced.said("confirm") is Finding.FIRST  # the application's own answer counts
    assert work(traced, "confirm", ADD) == REFUSED
    assert traced.amount == 1


def test_what_was_rolled_back_is_done_again_and_its_row_too(traced: Guarding) -> None:
    with traced.connect(autocommit=False) as connection:
        assert run(connection, "confirm", READ, ADD) == 0
        connection.rollback()
        assert run(connection, "confirm", READ, ADD) == 0
        connection.commit()
    assert (traced.amount, traced.guard_rows) == (1, [("confirm", "confirm")])


def test_a_hint_says_more_than_a_trace(traced: Guarding) -> None:
    change = f"UPDATE /*+ XidGuard('{Guarded.of(BRANCH, Operation.TRY)}') */ item SET amount = 101"
    with traced.connect(autocommit=False) as connection:
        assert run(connection, "confirm", change) == 0
        connection.commit()
    assert traced.guard_rows == [("try", "try")]


def test_a_statement_with_an_xid_is_not_of_the_call(traced: Guarding) -> None:
    change = f"UPDATE {hint(traced.begin())} item SET amount = 1 WHERE id = 1"
    with traced.connect(autocommit=True) as connection:
        assert run(connection, "confirm", change) == 0
    assert traced.guard_rows == []


def test_of_no_known_trace_nothing_is_guarded(traced: Guarding) -> None:
    with traced.connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(ADD + comment("try").replace(TRACES["try"], "f" * 32))
    assert (traced.amount, traced.guard_rows) == (1, [])


def test_where_no_calls_are_guarded_a_trace_says_nothing(place: Place, credentials: Path) -> None:
    with Guarding(place, credentials, traces=Calls()) as plain, plain.connect(autocommit=True) as connection:
        assert [run(connection, "confirm", ADD) for _ in range(2)] == [0, 0]
        assert plain.amount == 2


def prepared(bank: Guarding, operation: str, *statements: str, autocommit: bool) -> int:
    with closing(by_connector(bank, autocommit=autocommit)) as connection:
        for sql in statements:
            cursor: Any = connection.cursor(prepared=True)
            with closing(cursor):
                try:
                    cursor.execute(sql + comment(operation), (1,))
                    if cursor.with_rows:
                        cursor.fetchall()
                except mysql.connector.Error as error:
                    return int(error.errno or 0)
        connection.commit()
    return 0


@pytest.mark.parametrize("autocommit", [True, False])
def test_prepared_statements_are_guarded(traced: Guarding, *, autocommit: bool) -> None:
    statements = ["SELECT * FROM item WHERE id = ?", "UPDATE item SET amount = amount + 1 WHERE id = ?"]
    assert prepared(traced, "confirm", *statements, autocommit=autocommit) == 0
    traced.said("confirm")
    assert prepared(traced, "confirm", *statements, autocommit=autocommit) == DONE_BEFORE
    assert (traced.amount, traced.said("confirm")) == (1, Finding.REPEATED)
