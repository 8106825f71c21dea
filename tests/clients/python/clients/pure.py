"""PyMySQL, which has no pool: who keeps a connection asks whether it still lives."""

from __future__ import annotations

from typing import Any

import pymysql

from .answering import address
from .dbapi import DbApi


class PyMysql(DbApi):
    """The driver in Python alone."""

    errors = (pymysql.MySQLError,)

    def __init__(self) -> None:
        super().__init__()
        self._kept: Any = None

    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        if self._kept is None:
            self._kept = self._opened()
        self._kept.ping(reconnect=True)
        return self._changed(self._kept, sql, parameters)

    def _opened(self) -> Any:
        return pymysql.connect(**address(), autocommit=True, charset="utf8mb4")

    def _begin(self, connection: Any) -> None:
        connection.begin()
