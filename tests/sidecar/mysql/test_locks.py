"""Locks are the rows', whoever spells the table how, at whichever sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.sidecar.mysql.harness import hint
from tests.sidecar.mysql.test_at import refused, undo

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sidecar.mysql.harness import Place, Proxy


@pytest.mark.parametrize("spelling", ["item", "`item`", "{schema}.item", "`{schema}` . `item`"])
def test_locks_hold_between_two_sidecars_and_spellings(
    proxy: Proxy, place: Place, credentials: Path, spelling: str
) -> None:
    """The second sidecar even has another store, and so cannot know the holder: the lock is the row's."""
    holder = proxy.begin()
    table = spelling.format(schema=place.schema)
    with proxy.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} {table} SET amount = 1 WHERE id = 1")
    with type(proxy)(place, credentials) as other:
        xid = other.begin()
        with other.connect() as connection, connection.cursor() as cursor:
            for sql in (
                "UPDATE {} item SET amount = 2 WHERE id = 1",
                "DELETE {} FROM item WHERE id = 1",
                "SELECT {} * FROM item WHERE id = 1 FOR UPDATE",
            ):
                with pytest.raises(pymysql.MySQLError) as error:
                    cursor.execute(sql.format(hint(xid)))
                assert refused(error, "LockConflict", 1205)
                assert str(holder) in error.value.args[1]
    assert [row[1] for row in undo(place)] == ["1"]
