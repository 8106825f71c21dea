"""What the drivers that follow PEP 249 have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from typing import Any

from .answering import digest, formatted, texts, values


class DbApi(ABC):
    """One connection in autocommit, and a second one as the driver's pool gives it."""

    errors: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self._connection: Any = None

    @abstractmethod
    def _opened(self) -> Any:
        """Connect."""

    @abstractmethod
    def _begin(self, connection: Any) -> None:
        """Begin a local transaction."""

    @abstractmethod
    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        """Change rows in a local transaction on a connection of the pool."""

    def _cursor(self, connection: Any) -> Any:
        return connection.cursor()

    def _placed(self, sql: str) -> str:
        return formatted(sql)

    def connect(self) -> dict[str, Any]:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._opened()
        return {}

    def execute(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        with closing(self._cursor(self._connection)) as cursor:
            cursor.execute(self._placed(sql), values(parameters))
            return {"affected": cursor.rowcount, "id": cursor.lastrowid}

    def batch(self, sql: str, rows: list[list[Any]]) -> dict[str, Any]:
        with closing(self._cursor(self._connection)) as cursor:
            cursor.executemany(self._placed(sql), [values(row) for row in rows])
            return {"affected": cursor.rowcount}

    def query(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return texts(self._rows(sql, parameters))

    def digest(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return digest(self._rows(sql, parameters))

    def begin(self) -> dict[str, Any]:
        self._begin(self._connection)
        return {}

    def commit(self) -> dict[str, Any]:
        self._connection.commit()
        return {}

    def rollback(self) -> dict[str, Any]:
        self._connection.rollback()
        return {}

    def _rows(self, sql: str, parameters: list[Any]) -> Any:
        with closing(self._cursor(self._connection)) as cursor:
            cursor.execute(self._placed(sql), values(parameters))
            return cursor.fetchall()

    def _changed(self, connection: Any, sql: str, parameters: list[Any]) -> dict[str, Any]:
        """Change rows in a local transaction of its own."""
        self._begin(connection)
        with closing(self._cursor(connection)) as cursor:
            cursor.execute(self._placed(sql), values(parameters))
            affected = cursor.rowcount
        connection.commit()
        return {"affected": affected}
