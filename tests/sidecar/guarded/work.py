"""What the participants do, whatever they are asked by: each call moves money as often as it is made.

What keeps it from doing so twice is the hint that is handed on to the database, unless GUARD is 0.
"""

from __future__ import annotations

import os

import pymysql

GUARD = os.environ.get("GUARD") != "0"
WORK = {
    "try": "UPDATE {hint} account SET balance = balance - 30, reserved = reserved + 30 WHERE id = 1",
    "confirm": "UPDATE {hint} account SET reserved = reserved - 30, spent = spent + 30 WHERE id = 1",
    "cancel": "UPDATE {hint} account SET reserved = reserved - 30, balance = balance + 30 WHERE id = 1",
    "step": "UPDATE {hint} account SET balance = balance - 30, spent = spent + 30 WHERE id = 1",
    "compensate": "UPDATE {hint} account SET spent = spent - 30, balance = balance + 30 WHERE id = 1",
}


def work(operation: str, guard: str) -> None:
    """Do it, in one local transaction.

    Raises:
        pymysql.MySQLError: it was not done.
    """
    hint = f"/*+ XidGuard('{guard}') */" if GUARD else ""
    with pymysql.connect(
        host="127.0.0.1",
        port=int(os.environ["DATABASE_PORT"]),
        user="account",
        password="secret",
        database=os.environ["DATABASE_NAME"],
    ) as connection:
        connection.cursor().execute(WORK[operation].format(hint=hint))
        connection.commit()
