"""A change in autocommit where the application has joined: all of it in one packet, stopped at each place."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import hint
from tests.sidecar.mysql.test_at import refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Place, Proxy
    from tests.sidecar.mysql.meter import TripMeter

ITEMS = [(1, "bolt", 100), (2, "nut", 200), (3, "washer", 300)]
UNDO = "SELECT table_name, row_key, xid FROM globaltx_undo WHERE table_name NOT IN ('', 'keyed')"
CHANGES = {
    "update": "UPDATE {} item SET amount = amount - 1 WHERE id = 1",
    "update of a text": "UPDATE {} item SET name = 'schön' WHERE id = 2 AND amount > 3",
    "update by a text": "UPDATE {} `item` AS i SET i.amount = 0, i.name = NULL WHERE (i.id = '3')",
    "update with a comment": "UPDATE {} item SET amount = 3 WHERE id = 1 -- because",
    "update with another": "UPDATE {} item SET amount = 4 WHERE id = 1 # because",
    "delete": "DELETE {} FROM item WHERE id = 3",
    "insert": "INSERT {} INTO item VALUES (7, 'pin', 1)",
    "insert of a generated key": "INSERT {} INTO item (name) VALUES ('nail')",
    "insert of a key that is a text": "INSERT {} INTO keyed (code, note) VALUES ('Schön', NULL)",
}
SEVERAL = {
    "inserts": "INSERT {} INTO item VALUES (7, 'pin', 1), (8, 'pin', 2)",
    "inserts of generated keys": "INSERT {} INTO item (name) VALUES ('nail'), ('nail'), ('nail')",
}
TWO_TRIPS = {
    "several rows": "UPDATE {} item SET amount = 1 WHERE id < 3",
    "or": "UPDATE {} item SET amount = 1 WHERE id = 1 OR id = 2",
    "two constants": "UPDATE {} item SET amount = 1 WHERE id = 1 AND id = 1",
    "no whole number": "UPDATE {} item SET amount = 1 WHERE id = 1.0",
    "a text of many digits": "UPDATE {} item SET amount = 1 WHERE id = '0000000000000001'",
    "no key": "UPDATE {} item SET amount = 1 WHERE name = 'bolt'",
}
LONG = "REPEAT('x', 100)"


@pytest.fixture
def joined(metered: Proxy) -> Iterator[tuple[Any, Xid]]:
    """A connection, and an xid that the application has joined."""
    xid = metered.begin()
    with closing(metered.connect()) as connection:
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT {hint(xid)} INTO keyed (code) VALUES ('first')")
            cursor.execute(f"UPDATE {hint(metered.begin())} item SET amount = 1 WHERE id = 99")
        yield connection, xid


def trips_of(meter: TripMeter, connection: Any, sql: str) -> int:
    before = meter.lines[0].trips
    with connection.cursor() as cursor:
        cursor.execute(sql)
    return meter.lines[0].trips - before


def rolled_back(metered: Proxy, xid: Xid) -> None:
    """See that a rollback leaves all as it was."""
    metered.decide(xid, Outcome.ROLLBACK)
    metered.carry_out(xid, Outcome.ROLLBACK)
    assert metered.place.rows("SELECT * FROM item ORDER BY id") == ITEMS
    assert metered.place.rows("SELECT * FROM keyed") == []
    assert metered.place.rows(UNDO) == []


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_trip_and_its_rollback(
    metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid], change: str
) -> None:
    connection, xid = joined
    with metered.place.connect() as bare, bare.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        wanted = cursor.execute(change.format("")), cursor.lastrowid
        cursor.execute("SELECT * FROM item ORDER BY id")
        rows = cursor.fetchall()
        cursor.execute("ROLLBACK")
    if "generated" in change or "nail" in change:
        metered.place.run("ALTER TABLE item AUTO_INCREMENT = 4")
    before = meter.lines[0].trips
    with connection.cursor() as cursor:
        assert (cursor.execute(change.format(hint(xid))), cursor.lastrowid) == wanted
    assert meter.lines[0].trips - before == 1
    assert metered.place.rows("SELECT * FROM item ORDER BY id") == list(rows)
    rolled_back(metered, xid)


@pytest.mark.parametrize("change", SEVERAL.values(), ids=SEVERAL)
def test_several_rows_and_their_rollback(
    metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid], change: str
) -> None:
    """MySQL keeps locks on gaps where one of several records fails: there it stays at two trips."""
    connection, xid = joined
    marias = "mariadb" in metered.place.rows("SELECT VERSION()")[0][0].lower()
    assert trips_of(meter, connection, change.format(hint(xid))) == (1 if marias else 2)
    assert len(metered.place.rows(UNDO)) == change.count("), (") + 1
    rolled_back(metered, xid)


@pytest.mark.parametrize("change", TWO_TRIPS.values(), ids=TWO_TRIPS)
def test_two_trips_where_the_row_is_not_known(
    metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid], change: str
) -> None:
    connection, xid = joined
    assert trips_of(meter, connection, change.format(hint(xid))) == 2
    rolled_back(metered, xid)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_no_row(metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid], level: str) -> None:
    """What was noted of another row before is not taken for its image."""
    connection, xid = joined
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    change = f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = "
    assert trips_of(meter, connection, f"{change}1 AND amount = 100") == 1
    assert trips_of(meter, connection, f"{change}1 AND amount = 100") == 2
    assert trips_of(meter, connection, f"{change}99") == 2
    assert [row[:2] for row in metered.place.rows(UNDO)] == [(b"item", b"1")]
    rolled_back(metered, xid)


def test_a_row_changed_again_keeps_its_first_image(metered: Proxy, joined: tuple[Any, Xid]) -> None:
    connection, xid = joined
    with connection.cursor() as cursor:
        for change in ("UPDATE {} item SET amount = amount - 1 WHERE id = 1", CHANGES["update"]):
            cursor.execute(change.format(hint(xid)))
        cursor.execute(f"UPDATE {hint(xid)} item SET name = 'x' WHERE id = 1")
        cursor.execute(f"DELETE {hint(xid)} FROM item WHERE id = 1")
        cursor.execute(f"INSERT {hint(xid)} INTO item VALUES (1, 'y', 2)")
    rolled_back(metered, xid)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("INSERT {} INTO item VALUES (1, 'pin', 1)", 1062),
        ("UPDATE {} item SET amount = NULL WHERE id = 1", 1048),
        (f"UPDATE {{}} item SET name = {LONG} WHERE id = 1", 1406),
        ("UPDATE {} item SET amount = nosuch WHERE id = 1", 1054),
        ("DELETE {} FROM item WHERE id = 1 AND nosuch = 2", 1054),
    ],
)
def test_the_image_or_the_statement_fails(
    metered: Proxy, joined: tuple[Any, Xid], change: str, code: int
) -> None:
    connection, xid = joined
    with connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(change.format(hint(xid)))
        assert error.value.args[0] == code
        cursor.execute("SHOW WARNINGS")
        assert [row[1] for row in cursor.fetchall()] == [code]
    assert metered.place.rows("SELECT * FROM item ORDER BY id") == ITEMS
    assert metered.place.rows(UNDO) == []


@pytest.mark.parametrize("change", [CHANGES["update"], CHANGES["insert"]])
def test_the_undo_records_fail(metered: Proxy, joined: tuple[Any, Xid], change: str) -> None:
    connection, xid = joined
    metered.place.run("RENAME TABLE globaltx_undo TO away")
    with connection.cursor() as cursor, pytest.raises(pymysql.MySQLError) as error:
        cursor.execute(change.format(hint(xid)))
    metered.place.run("RENAME TABLE away TO globaltx_undo")
    assert refused(error, "UndoTableMissing")
    assert metered.place.rows("SELECT * FROM item ORDER BY id") == ITEMS


@pytest.mark.parametrize("key", ["X'6974656d', '1'", "'', '{xid}'"], ids=["the record", "the fence"])
def test_the_undo_records_wait_in_vain(
    metered: Proxy, place: Place, joined: tuple[Any, Xid], key: str
) -> None:
    """An error that is no conflict, at the first of them and at the last."""
    connection, xid = joined
    fence = key.format(xid=xid)
    with place.connect(autocommit=False) as other, other.cursor() as holds, connection.cursor() as cursor:
        holds.execute(
            "INSERT INTO globaltx_undo (table_name, row_key, xid, position) "
            f"VALUES ({fence}, 'x', 1) ON DUPLICATE KEY UPDATE position = 1"
        )
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(CHANGES["update"].format(hint(xid)))
        assert error.value.args[0] == 1205
        other.rollback()
        assert metered.place.rows("SELECT * FROM item ORDER BY id") == ITEMS
        assert metered.place.rows(UNDO) == []
        cursor.execute(CHANGES["update"].format(hint(xid)))
    rolled_back(metered, xid)


def test_the_fence_is_taken(metered: Proxy, joined: tuple[Any, Xid]) -> None:
    """That it has joined is still believed, and the local commit is refused all the same."""
    connection, xid = joined
    rolled_back(metered, xid)
    with connection.cursor() as cursor, pytest.raises(pymysql.MySQLError) as error:
        cursor.execute(CHANGES["update"].format(hint(xid)))
    assert refused(error, "AlreadyDecided")
    rolled_back(metered, xid)


def test_another_transactions_row(metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid]) -> None:
    """Undecided: wait in vain; committed: take over; and nothing of that is left for later."""
    connection, xid = joined
    holder = metered.begin()
    with metered.connect() as other, other.cursor() as cursor:
        cursor.execute(f"UPDATE {hint(holder)} item SET amount = 50 WHERE id = 1")
    with connection.cursor() as cursor:
        with pytest.raises(pymysql.MySQLError) as error:
            cursor.execute(CHANGES["update"].format(hint(xid)))
        assert refused(error, "LockConflict", 1205)
        metered.decide(holder, Outcome.COMMIT)
        cursor.execute(CHANGES["update"].format(hint(xid)))
        cursor.execute("SELECT @globaltx_holder")
        assert cursor.fetchall() == ((None,),)
    assert metered.place.rows("SELECT amount FROM item WHERE id = 1") == [(49,)]
    assert metered.place.rows(UNDO) == [(b"item", b"1", str(xid).encode())]
    assert trips_of(meter, connection, CHANGES["update"].format(hint(xid))) == 1


def test_warnings_are_kept(metered: Proxy, meter: TripMeter, joined: tuple[Any, Xid]) -> None:
    connection, xid = joined
    with connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute(CHANGES["update"].format(hint(xid)))
        change = f"UPDATE {hint(xid)} item SET name = {LONG} WHERE id = 1"
        assert trips_of(meter, connection, change) == 1
        assert trips_of(meter, connection, "SHOW WARNINGS") == 0
        cursor.execute("SHOW WARNINGS")
        assert [row[1] for row in cursor.fetchall()] == [1265]
    rolled_back(metered, xid)


@pytest.mark.parametrize(
    "collation", ["utf16_general_ci", "ucs2_bin", "utf32_general_ci", "sjis_bin", "latin1_bin"]
)
def test_an_image_that_the_session_spoils(metered: Proxy, joined: tuple[Any, Xid], collation: str) -> None:
    """It is undone, or refused before it is there."""
    connection, xid = joined
    told = []
    with connection.cursor() as cursor:
        cursor.execute(f"SET collation_connection = {collation}")
        try:
            cursor.execute(CHANGES["update of a text"].format(hint(xid)))
        except pymysql.MySQLError as error:
            told.append(error.args[1])
    assert all(each.startswith("globaltx: StatementNotUndoable") for each in told)
    assert not told or metered.place.rows("SELECT * FROM item ORDER BY id") == ITEMS
    rolled_back(metered, xid)
