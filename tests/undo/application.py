"""An application under an xid, the way the sidecar would have it: image, statement, undo records.

It stands in for the wire session in tests of the SQL alone, over a real connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.err import MySQLError

from globaltx.undo import hint, join, ledger, locks, plan, statement
from globaltx.undo.forms import Answers
from globaltx.undo.sqlmode import SqlMode
from globaltx_sidecar.mysql.packets import read_lenenc_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dev.databases import Server
    from globaltx.transaction.xid import Xid
    from globaltx.undo.literal import Value
    from globaltx.undo.shape import TableShape
    from globaltx_sidecar.ports import Schemas


class Application:
    """One connection of an application, in a local transaction from its first statement on."""

    def __init__(self, server: Server, schema: str, schemas: Schemas, xid: Xid, **options: Any) -> None:
        self.connection: Any = pymysql.connect(
            unix_socket=str(server.socket),
            user="root",
            database=schema,
            autocommit=False,
            **{"charset": "utf8mb4", **options},
        )
        self.xid = xid
        self.schema = schema
        self.mode = SqlMode(charset=self.connection.charset)
        self.work = ledger.Ledger()
        self._schemas = schemas

    async def image(self, sql: str) -> list[tuple[bytes | None, ...]]:
        """Take the image of a statement that is not run."""
        change = statement.analyse(self.mode.encode(sql), self.mode)
        planned = await self._plan(change)
        assert planned.image is not None
        return await self.rows(planned.image)

    async def _plan(self, change: statement.Statement, parameters: Sequence[Value] = ()) -> plan.Plan:
        if isinstance(change, statement.Joined):
            shapes = {each: await self._shape(each.table) for each in join.described(change)}
            return join.make(change, shapes, self.mode, parameters)
        assert isinstance(change, (statement.Insert, statement.Update, statement.Delete))
        return plan.make_plan(change, await self._shape(change.table), self.mode, parameters)

    async def _shape(self, table: statement.Table) -> TableShape:
        return await self._schemas.shape(table.schema or self.schema, table.name)

    async def execute(self, sql: str | bytes, parameters: Sequence[Value] = ()) -> plan.Ok:
        """Run a statement with its undo records kept."""
        taken = hint.take(sql if isinstance(sql, bytes) else self.mode.encode(sql), self.mode)
        change = statement.analyse(taken.sql, self.mode)
        planned = await self._plan(change, parameters)
        rows = [] if planned.image is None else await self.rows(planned.image)
        sql = statement.bind(change, parameters, self.mode)
        if isinstance(planned, plan.InsertPlan) and planned.statement is not None:
            sql = planned.statement
        if isinstance(planned, plan.SelectedPlan) and planned.meets:
            planned = planned.upsert(rows)
            rows = [] if planned.image is None else await self.rows(planned.image)
        if (
            isinstance(planned, plan.ImagePlan | plan.MovePlan | plan.JoinPlan)
            and planned.answers is not Answers.ROW
        ):
            sql = planned.narrowed(rows)
        ok = await self.run(sql)
        if isinstance(planned, plan.GeneratedPlan):
            rows = [*rows, *await self.rows(planned.behind)]
        self.work.add(planned.records(rows, ok))
        return ok

    async def commit(self, committed: Collection[Xid] = ()) -> None:
        """Write the undo records and commit; an error leaves the local transaction open."""
        if self.work.records:
            await self.run(locks.undo_insert(self.schema, self.xid, self.work.records, committed))
        await self.run(b"COMMIT")
        self.work.clear()

    async def roll_back(self) -> None:
        await self.run(b"ROLLBACK")
        self.work.clear()

    async def holder(self) -> Xid | None:
        rows = await self.rows(locks.HOLDER_QUERY)
        return locks.holder(rows[0][0])

    async def rows(self, sql: bytes) -> list[tuple[bytes | None, ...]]:
        """Run a query; every value as the bytes of the text protocol."""
        return await asyncio.to_thread(self._rows, sql)

    def _rows(self, sql: bytes) -> list[tuple[bytes | None, ...]]:
        decoders = self.connection.decoders
        self.connection.decoders = {}
        use_unicode, self.connection.use_unicode = self.connection.use_unicode, False
        try:
            self.connection._execute_command(3, sql)
            self.connection._affected_rows = self.connection._read_query_result()
            rows = self.connection._result.rows or ()
        finally:
            self.connection.decoders, self.connection.use_unicode = decoders, use_unicode
        return [tuple(_as_bytes(value) for value in row) for row in rows]

    async def run(self, sql: bytes) -> plan.Ok:
        return await asyncio.to_thread(self._run, sql)

    def _run(self, sql: bytes) -> plan.Ok:
        self.connection._execute_command(3, sql)
        affected = self.connection._read_query_result()
        result = self.connection._result
        info = read_lenenc_bytes(result.message, 0)[0] if result.message else b""
        return plan.Ok(affected, result.insert_id or 0, info)

    def close(self) -> None:
        self.connection.close()


def _as_bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


__all__ = ["Application", "MySQLError"]
