"""What must not grow, at the server or in the sidecar, however long or lazy a client is."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import psutil
import pymysql.cursors

from tests.sidecar.mysql.harness import numbers
from tests.sidecar.mysql.test_passthrough import connector

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sidecar.mysql.harness import Place, Proxy

ROWS = 100_000
ROW_BYTES = 3000
GROWTH_BYTES_MAX = 64 << 20
"""A fifth of the result: enough for what is on its way, and for what else goes on in this process."""


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status(place: Place, name: str) -> int:
    ((_, value),) = place.rows(f"SHOW GLOBAL STATUS LIKE '{name}'")
    return int(value)


def test_prepared_statements_that_the_application_closes_are_closed_at_the_server(
    proxy: Proxy, place: Place
) -> None:
    before = status(place, "Prepared_stmt_count")
    hint = f"/*+ XID('{proxy.begin()}') */"
    with closing(connector(proxy)) as connection:
        for number in range(5):
            for marked in ("", hint):
                cursor = connection.cursor(prepared=True)
                cursor.execute(f"UPDATE {marked} item SET amount = amount + ? WHERE id = ?", (number, 1))
                assert status(place, "Prepared_stmt_count") > before
                cursor.close()
        until(lambda: status(place, "Prepared_stmt_count") == before)


def test_a_client_that_does_not_read_holds_the_server_up_and_not_the_result(
    proxy: Proxy, place: Place
) -> None:
    process = psutil.Process()
    query = f"SELECT REPEAT('x', {ROW_BYTES}) FROM {numbers(ROWS)}"
    with closing(proxy.connect(cursorclass=pymysql.cursors.SSCursor)) as connection:
        before = process.memory_info().rss
        with connection.cursor() as cursor:
            cursor.execute(query)  # takes the columns, and no row
            until(lambda: stalled(place))
            assert process.memory_info().rss - before < GROWTH_BYTES_MAX
            assert sum(1 for _ in cursor) == ROWS
        assert process.memory_info().rss - before < GROWTH_BYTES_MAX


def stalled(place: Place) -> bool:
    """Whether the server has sent some of the result, and for a while nothing more of it."""
    first = status(place, "Bytes_sent")
    time.sleep(0.5)
    return first > ROW_BYTES * 1000 and status(place, "Bytes_sent") - first < ROW_BYTES * 100
