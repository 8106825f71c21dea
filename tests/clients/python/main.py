"""Carries out, by SQLAlchemy on PyMySQL, what ``tests/clients/conversation.py`` asks for."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

import sqlalchemy
from sqlalchemy import exc


class Client:
    """One connection; statements outside of ``begin`` are in autocommit."""

    def __init__(self) -> None:
        self._engine = sqlalchemy.create_engine(
            sqlalchemy.URL.create(
                "mysql+pymysql",
                os.environ["DB_USER"],
                os.environ["DB_PASSWORD"],
                os.environ["DB_HOST"],
                int(os.environ["DB_PORT"]),
                os.environ["DB_SCHEMA"],
                {"charset": "utf8mb4"},
            )
        )
        self._connection: Any = None
        self._local: Any = None

    def connect(self) -> dict[str, Any]:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
        self._local = None
        self._connection = self._engine.connect()
        return self._autocommit()

    def execute(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        result = self._sent(sql, _values(parameters))
        return {"affected": result.rowcount, "id": result.lastrowid}

    def batch(self, sql: str, rows: list[list[Any]]) -> dict[str, Any]:
        return {"affected": self._sent(sql, [_values(row) for row in rows]).rowcount}

    def query(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        rows = self._sent(sql, _values(parameters)).all()
        return {"rows": [[None if cell is None else str(cell) for cell in row] for row in rows]}

    def begin(self) -> dict[str, Any]:
        self._connection.rollback()
        self._connection.execution_options(isolation_level="REPEATABLE READ")
        self._local = self._connection.begin()
        return {}

    def commit(self) -> dict[str, Any]:
        self._local.commit()
        return self._autocommit()

    def rollback(self) -> dict[str, Any]:
        self._local.rollback()
        return self._autocommit()

    def _autocommit(self) -> dict[str, Any]:
        self._connection.execution_options(isolation_level="AUTOCOMMIT")
        return {}

    def _sent(self, sql: str, parameters: Any) -> Any:
        return self._connection.exec_driver_sql(sql.replace("%", "%%").replace("?", "%s"), parameters or None)


def _values(parameters: list[Any]) -> tuple[Any, ...]:
    return tuple(base64.b64decode(each["base64"]) if isinstance(each, dict) else each for each in parameters)


def main() -> None:
    """Answer each line of the input."""
    client = Client()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(client, asked.pop("do"))(**asked)
        except exc.DBAPIError as error:
            code, *rest = error.orig.args if error.orig is not None else (0, "")
            answer = {"error": {"code": code, "state": "", "message": " ".join(map(str, rest))}}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
