"""UPDATE and DELETE of several tables, through the sidecar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.sidecar.mysql.harness import hint, in_transaction
from tests.sidecar.mysql.test_at import ITEMS, items, refused, undo
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from tests.sidecar.mysql.harness import Proxy

PRICES = "INSERT INTO keyed (code, price) VALUES ('a', 1), ('b', 2), ('c', 7)"
UPDATE = "UPDATE {} item JOIN keyed ON price = id SET item.name = code, note = item.name, amount = amount + 1"
OUTER = "UPDATE {} item LEFT JOIN keyed ON price = id SET name = 'x', keyed.note = 'y'"


def test_in_autocommit(proxy: Proxy) -> None:
    proxy.place.run(PRICES)
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        assert cursor.execute(UPDATE.format(hint(xid))) == 4
        assert cursor.execute(f"DELETE {hint(xid)} item, keyed FROM item JOIN keyed ON price = id + 4") == 2
        assert not in_transaction(connection)
    assert items(proxy.place) == [(1, "a", 101), (2, "b", 201)]
    assert sorted(row[0] for row in undo(proxy.place)) == ["item"] * 3 + ["keyed"] * 3


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
@pytest.mark.parametrize(("statement", "changed"), [(UPDATE, 4), (OUTER, 5)], ids=["inner", "outer"])
def test_in_a_local_transaction(proxy: Proxy, level: str, statement: str, changed: int) -> None:
    """Both tables are joined as they are now, whatever the transaction has seen before."""
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
        cursor.execute("SELECT * FROM item, keyed")
        proxy.place.run(PRICES)
        assert cursor.execute(statement.format(hint(xid))) == changed
        cursor.execute("SELECT ROW_COUNT()")
        assert cursor.fetchall() == ((changed,),)
        connection.commit()
    assert len(undo(proxy.place)) == changed


def test_a_row_that_joins_between_image_and_statement_waits(proxy: Proxy) -> None:
    """Under REPEATABLE READ the image of an outer join locks the gap where it has found nothing."""
    xid = proxy.begin()
    with proxy.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(OUTER.format(hint(xid)))
        with proxy.place.connect() as other, other.cursor() as outsider:
            outsider.execute("SET SESSION innodb_lock_wait_timeout = 1")
            with pytest.raises(pymysql.MySQLError) as waited:
                outsider.execute(PRICES)
            assert waited.value.args[0] == 1205
        connection.commit()


def test_refused_and_failing_ones_leave_nothing(proxy: Proxy) -> None:
    xid = proxy.begin()
    with proxy.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(f"DELETE {hint(xid)} item, keyless FROM item JOIN keyless")
        assert refused(error, "NoPrimaryKey")
        for statement, code in (
            ("UPDATE {} item JOIN keyed ON price = nothing SET amount = 1", 1054),
            ("UPDATE {} item JOIN keyed SET nowhere = 1", 1054),
            ("DELETE {} item FROM item JOIN nowhere", 1146),
        ):
            with pytest.raises(pymysql.MySQLError) as failed:
                cursor.execute(statement.format(hint(xid)))
            assert failed.value.args[0] == code
        assert not in_transaction(connection)
    assert (items(proxy.place), undo(proxy.place)) == (ITEMS, [])


def test_prepared(proxy: Proxy) -> None:
    proxy.place.run(PRICES)
    xid = proxy.begin()
    with closing(connector(proxy)) as connection, closing(connection.cursor(prepared=True)) as cursor:
        cursor.execute(
            f"UPDATE {hint(xid)} item LEFT JOIN keyed ON price = id AND code = ? SET name = ?, note = ?"
            " WHERE id < ?",
            ("b", "n", "m", 3),
        )
        assert cursor.rowcount == 3
    assert len(undo(proxy.place)) == 3
