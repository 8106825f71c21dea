"""aiomysql: each request runs in the one loop until it is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiomysql

from .answering import address, digest, formatted, texts, values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class AioMysql:
    """The driver for asyncio."""

    errors = (aiomysql.MySQLError,)

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        given = address()
        given["db"] = given.pop("database")
        self._options = given | {"autocommit": True, "charset": "utf8mb4"}
        self._connection: Any = None
        self._pool: Any = None

    def connect(self) -> dict[str, Any]:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._loop.run_until_complete(aiomysql.connect(**self._options))
        return {}

    def execute(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        async def work(cursor: Any) -> dict[str, Any]:
            await cursor.execute(formatted(sql), values(parameters))
            return {"affected": cursor.rowcount, "id": cursor.lastrowid}

        return dict(self._done(work))

    def batch(self, sql: str, rows: list[list[Any]]) -> dict[str, Any]:
        async def work(cursor: Any) -> dict[str, Any]:
            await cursor.executemany(formatted(sql), [values(row) for row in rows])
            return {"affected": cursor.rowcount}

        return dict(self._done(work))

    def query(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return texts(self._rows(sql, parameters))

    def digest(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return digest(self._rows(sql, parameters))

    def begin(self) -> dict[str, Any]:
        return self._ran(self._connection.begin())

    def commit(self) -> dict[str, Any]:
        return self._ran(self._connection.commit())

    def rollback(self) -> dict[str, Any]:
        return self._ran(self._connection.rollback())

    def pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        return self._loop.run_until_complete(self._pooled(sql, parameters))

    async def _pooled(self, sql: str, parameters: list[Any]) -> dict[str, Any]:
        if self._pool is None:
            self._pool = await aiomysql.create_pool(minsize=1, maxsize=1, **self._options)
        async with self._pool.acquire() as connection, connection.cursor() as cursor:
            await connection.begin()
            await cursor.execute(formatted(sql), values(parameters))
            affected = cursor.rowcount
            await connection.commit()
            return {"affected": affected}

    def _rows(self, sql: str, parameters: list[Any]) -> Any:
        async def work(cursor: Any) -> Any:
            await cursor.execute(formatted(sql), values(parameters))
            return await cursor.fetchall()

        return self._done(work)

    def _done(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def with_cursor() -> Any:
            async with self._connection.cursor() as cursor:
                return await work(cursor)

        return self._loop.run_until_complete(with_cursor())

    def _ran(self, awaitable: Any) -> dict[str, Any]:
        self._loop.run_until_complete(awaitable)
        return {}
