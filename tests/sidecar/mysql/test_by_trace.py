"""Statements that name no xid, but a trace that belongs to one in this pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mysql.connector
import pymysql
import pytest

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, Proxy
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place

pytestmark = pytest.mark.database
TRACE, OTHER = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"


def comment(trace: str = TRACE) -> str:
    return f" /*db_driver='x%3A1',threadsafety=1,traceparent='00-{trace}-b7ad6b7169203331-01'*/"


class Known(dict[str, "Xid"]):
    """Traces that belong to xids."""

    def xid_of(self, trace: str) -> Xid | None:
        return self.get(trace)

    def call_of(self, trace: str) -> None:
        """There are no calls."""


@pytest.fixture
def known() -> Known:
    return Known()


@pytest.fixture
def tied(place: Place, credentials: Path, known: Known) -> Iterator[Proxy]:
    with Proxy(place, credentials, traces=known) as running:
        yield running


def run(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_traced_change_takes_part_and_is_undone(tied: Proxy, known: Known, *, autocommit: bool) -> None:
    xid = known[TRACE] = tied.begin()
    with tied.connect(autocommit=autocommit) as connection:
        run(
            connection,
            "UPDATE item SET amount = 1 WHERE id = 1" + comment(),
            f"INSERT INTO item (name) VALUES ('/*{TRACE}*/'){comment()};",
            "SELECT * FROM item" + comment(),
        )
        connection.commit()
    assert [row[1] for row in undo(tied.place)] == ["1", "4"]
    assert [each.id.xid for each in tied.read(xid).branches] == [xid]
    tied.decide(xid, Outcome.ROLLBACK)
    tied.carry_out(xid, Outcome.ROLLBACK)
    assert items(tied.place) == ITEMS


def test_a_prepared_statement_belongs_to_the_trace_that_it_was_prepared_in(tied: Proxy, known: Known) -> None:
    known[TRACE] = tied.begin()
    place = tied.place
    connection = mysql.connector.connect(
        host="127.0.0.1",
        port=tied.port,
        user=ACCOUNT,
        password=PASSWORD,
        database=place.schema,
        collation="utf8mb4_general_ci",
        autocommit=True,
    )
    with connection, connection.cursor(prepared=True) as cursor:
        cursor.execute("UPDATE item SET amount = ? WHERE id = 1" + comment(), (1,))
    assert [row[1] for row in undo(place)] == ["1"]


@pytest.mark.parametrize("text", [comment(OTHER), "", f" # {comment()}", comment().replace("/*", "/*+ ")])
def test_of_no_known_trace_takes_no_part(tied: Proxy, known: Known, text: str) -> None:
    known[TRACE] = tied.begin()
    with tied.connect() as connection:
        run(connection, f"UPDATE item SET amount = 1 WHERE id = 1{text}")
        connection.commit()
    assert items(tied.place)[0] == (1, "bolt", 1)
    assert undo(tied.place) == []


def test_where_traces_do_not_matter_nothing_is_joined(proxy: Proxy) -> None:
    proxy.begin()
    with proxy.connect() as connection:
        run(connection, "UPDATE item SET amount = 1 WHERE id = 1" + comment())
        connection.commit()
    assert undo(proxy.place) == []


def test_a_hint_says_more_than_a_trace(tied: Proxy, known: Known) -> None:
    known[TRACE] = tied.begin()
    xid = tied.begin()
    with tied.connect() as connection:
        run(connection, f"UPDATE /*+ XID('{xid}') */ item SET amount = 1 WHERE id = 1{comment()}")
    assert len(tied.read(xid).branches) == 1
    assert tied.read(known[TRACE]).branches == ()


def test_of_a_transaction_that_has_ended_it_is_refused(tied: Proxy, known: Known) -> None:
    xid = known[TRACE] = tied.begin()
    tied.decide(xid, Outcome.COMMIT)
    with tied.connect() as connection, pytest.raises(pymysql.MySQLError) as error:
        run(connection, "UPDATE item SET amount = 1 WHERE id = 1" + comment())
    assert refused(error, Reason.ALREADY_DECIDED)
    assert items(tied.place) == ITEMS


def test_two_traces_in_one_statement_or_in_one_local_transaction_are_refused(
    tied: Proxy, known: Known
) -> None:
    known[TRACE], known[OTHER] = tied.begin(), tied.begin()
    with tied.connect(autocommit=False) as connection:
        with pytest.raises(pymysql.MySQLError) as error:
            run(connection, "UPDATE item SET amount = 1" + comment() + comment(OTHER))
        assert refused(error, Reason.INVALID_XID)
        run(connection, "UPDATE item SET amount = 1 WHERE id = 1" + comment())
        with pytest.raises(pymysql.MySQLError) as error:
            run(connection, "UPDATE item SET amount = 1 WHERE id = 2" + comment(OTHER))
        assert refused(error, Reason.LOCAL_TRANSACTION_MIXED)
    assert items(tied.place) == ITEMS
