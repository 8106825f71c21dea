"""What a statement costs in round trips between the sidecar and the database, counted on the wire."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mysql.connector
import pytest

from globaltx.modes.guard_row import Guarded, create_guard_table
from globaltx.modes.tcc import Operation
from globaltx.transaction.model import BranchId
from globaltx.transaction.xid import Xid
from globaltx_sidecar.guards import Guards
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, Proxy, hint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sidecar.mysql.harness import Place
    from tests.sidecar.mysql.meter import TripMeter

CHANGES = (
    "INSERT {} INTO item (name, amount) VALUES ('nail', 1)",
    "UPDATE {} item SET amount = amount - 1 WHERE id = 1",
    "UPDATE {} item SET name = 'screw' WHERE id = 2",
    "DELETE {} FROM item WHERE id = 3",
)


def warm(proxy: Proxy, connection: Any) -> None:
    """Let the sidecar read what it remembers: the connection's settings, the table's shape."""
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT {hint(proxy.begin())} INTO item (name) VALUES ('warm')")


def trips(meter: TripMeter, act: Callable[[], None]) -> int:
    """The round trips of the application's connection (the sidecar's own ones came later)."""
    before = meter.lines[0].trips
    act()
    return meter.lines[0].trips - before


def in_one_transaction(connection: Any, marked: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for change in CHANGES:
            cursor.execute(change.format(marked))
        cursor.execute("COMMIT")


def test_a_local_transaction_takes_no_trip_beyond_the_applications_own(
    metered: Proxy, meter: TripMeter
) -> None:
    with closing(metered.connect()) as connection:
        warm(metered, connection)
        bare = len(CHANGES) + 2
        assert trips(meter, lambda: in_one_transaction(connection, hint(metered.begin()))) == bare


def test_a_guard_row_takes_one_trip(meter: TripMeter, place: Place, credentials: Path) -> None:
    place.run(create_guard_table(place.schema))
    guards = Guards("shop", "bank")
    meant = replace(place, port=meter.port)

    def marked(name: str) -> str:
        branch = BranchId(Xid("shop", name), "bank", "debit.1")
        return f"/*+ XidGuard('{Guarded.of(branch, Operation.CONFIRM)}') */"

    with (
        Proxy(meant, credentials, guards=guards, guards_calls=True) as guarding,
        closing(guarding.connect()) as connection,
    ):
        in_one_transaction(connection, marked("warm"))
        bare = len(CHANGES) + 2
        assert trips(meter, lambda: in_one_transaction(connection, marked("one"))) == bare + 1


def test_a_statement_without_an_xid_takes_its_own_trip(metered: Proxy, meter: TripMeter) -> None:
    with closing(metered.connect()) as connection:
        warm(metered, connection)
        with connection.cursor() as cursor:
            assert trips(meter, lambda: cursor.execute("SELECT * FROM item")) == 1
            assert trips(meter, lambda: cursor.execute(CHANGES[1].format(""))) == 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("joined", [False, True])
def test_autocommit_takes_two_and_one_if_joined(
    metered: Proxy, meter: TripMeter, change: str, *, joined: bool
) -> None:
    with closing(metered.connect()) as connection, connection.cursor() as cursor:
        warm(metered, connection)
        xid = metered.begin()
        if joined:
            cursor.execute(f"INSERT {hint(xid)} INTO item (name) VALUES ('first')")
        assert trips(meter, lambda: cursor.execute(change.format(hint(xid)))) == (1 if joined else 2)


def test_warnings_take_no_trip_more(metered: Proxy, meter: TripMeter) -> None:
    with closing(metered.connect()) as connection, connection.cursor() as cursor:
        warm(metered, connection)
        cursor.execute("SET sql_mode = ''")
        change = f"UPDATE {hint(metered.begin())} item SET name = REPEAT('x', 100) WHERE id = 1"
        cursor.execute("SELECT 1")
        assert trips(meter, lambda: cursor.execute(change)) == 3  # the mode of reading is asked for again
        assert trips(meter, lambda: cursor.execute(change)) == 1
        assert trips(meter, lambda: cursor.execute("SHOW WARNINGS")) == 0
        assert trips(meter, lambda: cursor.execute("SELECT ROW_COUNT()")) == 1


def prepared(port: int, place: Place, marked: str, meter: TripMeter) -> int:
    """The trips of a connection's second local transaction with a prepared statement."""
    line = len(meter.lines)
    with closing(
        mysql.connector.connect(
            host="127.0.0.1",
            port=port,
            user=ACCOUNT,
            password=PASSWORD,
            database=place.schema,
            ssl_disabled=True,
            use_pure=True,
        )
    ) as connection:
        for item in (1, 2):
            before = meter.lines[line].trips
            connection.start_transaction()
            with connection.cursor(prepared=True) as cursor:
                cursor.execute(f"UPDATE {marked} item SET amount = amount - ? WHERE id = ?", (1, item))
            connection.commit()
        return meter.lines[line].trips - before


def test_prepared_statements_take_no_trip_beyond_the_applications_own(
    metered: Proxy, meter: TripMeter, place: Place
) -> None:
    place.connect().close()  # from then on MySQL lets the account in without TLS
    bare = prepared(meter.port, place, "", meter)
    assert prepared(metered.port, place, hint(metered.begin()), meter) == bare
