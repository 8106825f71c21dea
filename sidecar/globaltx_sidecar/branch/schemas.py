"""The shapes of tables, as information_schema tells the sidecar's own account; cached for seconds.

A shape that is cached may be older than the table for `SHAPE_SECONDS` after an ALTER TABLE. The account
needs the right TRIGGER, or the server hides triggers from it; without it, changes are refused.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

from pymysql.err import MySQLError

from globaltx.undo import locks
from globaltx.undo.shape import Column, NoSuchTableError, Reference, TableShape, UniqueKey
from globaltx_sidecar.branch.database import code_of
from globaltx_sidecar.branch.undo_table import check_locks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx_sidecar.branch.database import Database, Row, Session

SHAPE_SECONDS = 5.0
SHAPES_MAX = 1024

_TABLE = """SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_TYPE
  FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"""
_COLUMNS = """SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, COLLATION_NAME,
    EXTRA, IF(VERSION() LIKE '%%MariaDB%%', COLUMN_DEFAULT = 'NULL', COLUMN_DEFAULT IS NULL)
  FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"""
_UNIQUE_KEYS = """SELECT INDEX_NAME, COLUMN_NAME, SUB_PART, INDEX_TYPE FROM information_schema.STATISTICS
  WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX"""
_PRIMARY = "PRIMARY"
_TRIGGERS = """SELECT TRIGGER_NAME FROM information_schema.TRIGGERS
  WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s"""
# Two statements, joined here: joined and ordered by the server they need a temporary table there.
_REFERENCING_COLUMNS = """SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME,
    REFERENCED_COLUMN_NAME
  FROM information_schema.KEY_COLUMN_USAGE
  WHERE REFERENCED_TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME = %s"""
_REFERENCE_RULES = """SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE
  FROM information_schema.REFERENTIAL_CONSTRAINTS
  WHERE UNIQUE_CONSTRAINT_SCHEMA = %s AND REFERENCED_TABLE_NAME = %s"""
_OF_TABLE = (_COLUMNS, _UNIQUE_KEYS, _TRIGGERS, _REFERENCING_COLUMNS, _REFERENCE_RULES)
_GRANTS = "SHOW GRANTS"
_JUST_MADE_OR_DROPPED = ("CASCADE", "CASCADE")
"""What is taken for the rules of a foreign key that one statement has seen and the other has not."""


_QUOTED = r"\*|`(?:[^`]|``)*`"
_GRANT = re.compile(rf"GRANT (?P<rights>.*?) ON (?P<schema>{_QUOTED})\.(?P<table>{_QUOTED}) TO ", re.DOTALL)


class CachedSchemas:
    """Implements `globaltx_sidecar.ports.Schemas` for one datasource; keeps at most `SHAPES_MAX`."""

    def __init__(self, database: Database, *, seconds: float = SHAPE_SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._shapes: OrderedDict[tuple[str, str], tuple[float, TableShape]] = OrderedDict()
        self._reading = asyncio.Lock()
        self._locks_hold = False

    async def shape(self, schema: str, table: str, *, fresh: bool = False) -> TableShape:
        """Read a table's shape; spellings that the server equates give the same shape.

        ``fresh``: what is cached has turned out old, ask the server.

        Raises:
            NoSuchTableError: there is none, or the account may not see it.
            DatasourceUnavailableError: the database does not answer, or its undo table locks nothing.
            pymysql.err.MySQLError: it refused to tell.
        """
        if fresh:
            self._shapes.pop((schema, table), None)
        found = self.known(schema, table)
        if found is not None:
            return found
        async with self._reading:
            found = self.known(schema, table)
            if found is None:
                async with self._database.session() as session:
                    await self._check_locks(session)
                    found = await read_shape(session, schema, table)
                self._keep(schema, table, found)
        return found

    async def _check_locks(self, session: Session) -> None:
        """Let nothing be changed under the protection of an undo table that protects nothing.

        A table that is not there yet is found out by the first local commit.
        """
        if self._locks_hold:
            return
        try:
            await check_locks(session, self._database.schema)
        except MySQLError as error:
            if code_of(error) not in locks.MISSING_TABLE_ERRORS:
                raise
        else:
            self._locks_hold = True

    def forget(self) -> None:
        """Drop everything: a table may have changed."""
        self._shapes.clear()

    def known(self, schema: str, table: str) -> TableShape | None:
        """What is remembered of a table's shape, if it is young enough to be used."""
        until, shape = self._shapes.get((schema, table), (0.0, None))
        return shape if until > self._now() else None

    def _keep(self, schema: str, table: str, shape: TableShape) -> None:
        self._shapes.pop((schema, table), None)
        self._shapes[schema, table] = self._now() + self._seconds, shape
        while len(self._shapes) > SHAPES_MAX:
            self._shapes.popitem(last=False)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def read_shape(session: Session, schema: str, table: str) -> TableShape:
    """Read a table's shape in two round trips: its name as the server spells it, and all the rest.

    Raises:
        NoSuchTableError: there is none, or the account may not see it.
    """
    tables = await session.rows(_TABLE, (schema, table))
    if not tables:
        raise NoSuchTableError(schema, table)
    schema, table, engine, kind = tables[0]
    columns, uniques, triggers, referencing, rules, grants = await session.train(
        (*_OF_TABLE, _GRANTS), (schema, table) * len(_OF_TABLE)
    )
    keys = {key.name: key for key in _unique_keys(uniques)}
    primary = keys.pop(_PRIMARY, None)
    return TableShape(
        schema=schema,
        name=table,
        engine=engine or "",
        columns=tuple(_column(row) for row in columns),
        primary_key=primary.columns if primary is not None and primary.whole else (),
        unique_keys=tuple(keys.values()),
        triggers=tuple(name for (name,) in triggers),
        references=_references(referencing, rules),
        type=kind,
        triggers_known=_sees_triggers(grants, schema, table),
    )


def _sees_triggers(grants: Sequence[Row], schema: str, table: str) -> bool:
    """Whether a grant lets the account see the table's triggers; a schema may be given as a LIKE pattern."""
    for (grant,) in grants:
        found = _GRANT.match(grant)
        if found is None or not {"TRIGGER", "ALL PRIVILEGES", "ALL"} & set(found["rights"].split(", ")):
            continue
        in_schema = found["schema"] == "*" or _like(_name(found["schema"])).fullmatch(schema)
        if in_schema and _name(found["table"]) in {"*", table}:
            return True
    return False


def _name(quoted: str) -> str:
    return quoted[1:-1].replace("``", "`") if quoted.startswith("`") else quoted


def _like(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts), re.DOTALL)


def _column(row: Row) -> Column:
    name, data_type, full_type, nullable, charset, collation, extra, null_default = row
    remarks = (extra or "").lower()
    return Column(
        name=name,
        type=data_type.lower(),
        full_type=full_type if data_type.lower() in {"enum", "set"} else full_type.lower(),
        nullable=nullable == "YES",
        charset=charset,
        collation=collation,
        auto_increment="auto_increment" in remarks,
        generated=any(word in remarks for word in ("virtual generated", "stored generated", "persistent")),
        on_update_now="on update current_timestamp" in remarks,
        visible="invisible" not in remarks,
        null_default=nullable == "YES" and bool(null_default) and not remarks,
    )


def _unique_keys(rows: Sequence[Row]) -> list[UniqueKey]:
    keys: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        keys[row[0]].append(row)
    return [
        UniqueKey(
            name,
            tuple(column or "" for _, column, _, _ in parts),
            whole=all(column and not part and kind == "BTREE" for _, column, part, kind in parts),
        )
        for name, parts in keys.items()
    ]


def _references(columns: Sequence[Row], rules: Sequence[Row]) -> tuple[Reference, ...]:
    ruled = {tuple(row[:3]): (row[3], row[4]) for row in rules}
    keys: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in sorted(columns, key=lambda row: row[:4]):
        keys[tuple(row[:3])].append(row)
    return tuple(
        Reference(
            name=key[2],
            schema=key[0],
            table=key[1],
            columns=tuple(part[4] for part in parts),
            referenced=tuple(part[5] for part in parts),
            on_delete=ruled.get(key, _JUST_MADE_OR_DROPPED)[0],
            on_update=ruled.get(key, _JUST_MADE_OR_DROPPED)[1],
        )
        for key, parts in keys.items()
    )
