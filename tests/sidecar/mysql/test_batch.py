"""Several changes in one text, where the application has negotiated multi-statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from pymysql.constants import CLIENT

from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

BATCH = (
    "UPDATE {} item SET amount = 1 WHERE id = 1; INSERT INTO item (name) VALUES ('a;b') /* ; */;"
    "UPDATE item SET amount = 3 WHERE id IN (SELECT 3) LIMIT 1;DELETE FROM item WHERE id = 2; ; -- end"
)


def answers(connection: Any, text: str) -> list[tuple[int, int]]:
    """Send a text, and take in all its answers: changed rows and insert id."""
    with connection.cursor() as cursor:
        found = [(cursor.execute(text), cursor.lastrowid)]
        while cursor.nextset():
            found.append((cursor.rowcount, cursor.lastrowid))
        return found


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("carried", ["hint", "variable"])
def test_each_is_answered_and_has_its_record(proxy: Proxy, carried: str, *, autocommit: bool) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS, autocommit=autocommit) as connection:
        if carried == "variable":
            answers(connection, f"SET @globaltx_xid = '{xid}'")
        text = BATCH.format(hint(xid) if carried == "hint" else "")
        assert answers(connection, text) == [(1, 0), (1, 4), (1, 0), (1, 0)]
        assert answers(connection, "SELECT 1")[0][0] == 1
        connection.commit()
        assert not in_transaction(connection)
    assert items(proxy.place) == [(1, "bolt", 1), (3, "washer", 3), (4, "a;b", 0)]
    assert [row[1] for row in undo(proxy.place)] == ["1", "4", "3", "2"]


def test_the_first_error_ends_it(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        with pytest.raises(pymysql.IntegrityError):
            answers(
                connection,
                f"UPDATE {hint(xid)} item SET amount = 1 WHERE id = 1; INSERT INTO item (id) VALUES (2);"
                "DELETE FROM item WHERE id = 3",
            )
        assert answers(connection, "SELECT 1")[0][0] == 1
    assert items(proxy.place) == [(1, "bolt", 1), *ITEMS[1:]]
    assert [row[1] for row in undo(proxy.place)] == ["1"]


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE {} item SET amount = 1; SELECT 1",
        "UPDATE {} item SET amount = 1; COMMIT",
        "SELECT {} 1; UPDATE item SET amount = 1",
        "UPDATE {} item SET amount = 1; TRUNCATE item",
    ],
)
def test_what_is_no_change_among_them_is_refused_before_any_runs(proxy: Proxy, text: str) -> None:
    xid = proxy.begin()
    with proxy.connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection:
        with pytest.raises(pymysql.MySQLError) as error:
            answers(connection, text.format(hint(xid)))
        assert refused(error, "StatementNotUndoable")
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


def test_without_multi_statements_it_stays_refused(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection:
        with pytest.raises(pymysql.MySQLError) as error:
            answers(connection, BATCH.format(hint(xid)))
        assert refused(error, "StatementNotUndoable")
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])
