"""Many clients on few rows: none starves, the books are right, no lock is left."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from globaltx.transaction.states import Outcome
from tests.sidecar.mysql.harness import hint
from tests.sidecar.mysql.test_at import undo

if TYPE_CHECKING:
    from globaltx.transaction.xid import Xid
    from tests.sidecar.mysql.harness import Proxy

pytestmark = pytest.mark.timeout(400)
CLIENTS = 32
ROWS = (1, 2, 3, 4)
TRANSACTIONS = 2
"""Of each client."""
ATTEMPTS_MAX = 150
"""Of each client in all; far from what is needed, and bounded whatever the machine's speed."""
_RESTART = frozenset({1205, 1213})


def test_none_starves_and_the_books_are_right(proxy: Proxy) -> None:
    proxy.place.run(
        "DELETE FROM item", f"INSERT INTO item VALUES {','.join(f'({row}, NULL, 0)' for row in ROWS)}"
    )
    with ThreadPoolExecutor(CLIENTS) as pool:
        booked = list(pool.map(lambda number: _client(proxy, number), range(CLIENTS)))
    expected = [sum(rows.count(row) for rows in booked) for row in ROWS]
    assert [row[0] for row in proxy.place.rows("SELECT amount FROM item ORDER BY id")] == expected
    assert undo(proxy.place) == []


def _client(proxy: Proxy, number: int) -> list[int]:
    """Do one client's transactions; give the rows whose change was committed."""
    choose = random.Random(number)  # noqa: S311  a choice that comes again
    booked: list[int] = []
    attempts = 0
    with proxy.connect() as connection, connection.cursor() as cursor:
        for _ in range(TRANSACTIONS):
            row = choose.choice(ROWS)
            outcome = choose.choice([Outcome.COMMIT, Outcome.ROLLBACK])
            while not _attempt(proxy, cursor, row, outcome):
                attempts += 1
                assert attempts < ATTEMPTS_MAX, f"client {number} starves"
            booked += [row] if outcome is Outcome.COMMIT else []
    return booked


def _attempt(proxy: Proxy, cursor: Any, row: int, outcome: Outcome) -> bool:
    """One global transaction; False if it had to give way, and was rolled back."""
    xid = proxy.begin()
    try:
        cursor.execute(f"UPDATE {hint(xid)} item SET amount = amount + 1 WHERE id = {row}")
    except pymysql.MySQLError as error:
        if error.args[0] not in _RESTART:
            raise
        _end(proxy, xid, Outcome.ROLLBACK)
        return False
    _end(proxy, xid, outcome)
    return True


def _end(proxy: Proxy, xid: Xid, outcome: Outcome) -> None:
    proxy.decide(xid, outcome)
    proxy.carry_out(xid, outcome)
