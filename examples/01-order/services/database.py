"""A connection to MySQL or MariaDB for each thread, and the xid as a hint in the SQL."""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import mysql.connector

if TYPE_CHECKING:
    from collections.abc import Iterator

_local = threading.local()
_XID = re.compile(r"[a-z0-9.-]{3,127}")


@contextmanager
def connected() -> Iterator[Any]:
    """This thread's connection, opened or opened anew; what was not committed is rolled back."""
    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = _connect()
    connection.ping(reconnect=True, attempts=3, delay=0)
    try:
        yield connection
    finally:
        if connection.in_transaction:
            with suppress(mysql.connector.Error):  # a lost connection has rolled back by itself
                connection.rollback()


def _connect() -> Any:
    return mysql.connector.connect(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ["DATABASE_PORT"]),
        database=os.environ["DATABASE_NAME"],
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        charset="utf8mb4",
        collation="utf8mb4_unicode_ci",  # MariaDB does not know the client's default
        connection_timeout=10,
        autocommit=True,
    )


def hinted(statement: str, xid: str) -> str:
    """Write the xid into the statement's ``/*+ XID('{xid}') */``.

    The xid comes from outside and lands in SQL: whatever is not one is refused.

    Raises:
        ValueError: the text is no xid.
    """
    if _XID.fullmatch(xid) is None:
        message = f"the header xid holds no xid: {xid[:80]!r}"
        raise ValueError(message)
    return statement.replace("{xid}", xid)
