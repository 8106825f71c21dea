"""mysql-connector-python: in C or in Python, with plain or with prepared statements."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import _mysql_connector
import mysql.connector
from mysql.connector.pooling import MySQLConnectionPool

from .answering import address
from .dbapi import DbApi


class Connector(DbApi):
    """MySQL's own driver."""

    errors = (mysql.connector.Error, _mysql_connector.MySQLInterfaceError)
    """The second is what a COMMIT that fails raises in C."""

    def __init__(self, *, pure: bool, prepared: bool) -> None:
        super().__init__()
        self._options = address() | {"use_pure": pure, "autocommit": True, "charset": "utf8mb4"}
        self._prepared = prepared
        self._pool: Any = None

    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        if self._pool is None:
            self._pool = MySQLConnectionPool(pool_name="pool", pool_size=1, **self._options)
        with closing(self._pool.get_connection()) as connection:
            return self._changed(connection, sql, parameters)

    def _opened(self) -> Any:
        return mysql.connector.connect(**self._options)

    def _begin(self, connection: Any) -> None:
        connection.start_transaction()

    def _cursor(self, connection: Any) -> Any:
        return connection.cursor(prepared=True) if self._prepared else connection.cursor()

    def _placed(self, sql: str) -> str:
        return sql if self._prepared else super()._placed(sql)
