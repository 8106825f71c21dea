"""A MariaDB on durable settings: every commit waits for the disk, log and binary log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bench.processes import Place
from dev.databases import MariaDB
from globaltx.undo.table import create_undo_table

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = ("--log-bin=binlog", "--sync-binlog=1", "--max-connections=400", "--innodb-buffer-pool-size=512M")
_USER = "bench"
_PASSWORD = "passing-through"  # noqa: S105  of a server that ends with this program


@contextlib.contextmanager
def database(name: str, sql: str, schema: str = "bench") -> Iterator[tuple[Place, MariaDB]]:
    """Bring one up with one schema and its tables, an undo table, and an account for everybody."""
    prepare = f"""
    DROP DATABASE IF EXISTS {schema};
    CREATE DATABASE {schema};
    CREATE USER IF NOT EXISTS '{_USER}'@'%' IDENTIFIED BY '{_PASSWORD}';
    GRANT ALL ON {schema}.* TO '{_USER}'@'%';
    """
    with MariaDB.up(name, sql=prepare, options=OPTIONS) as server:
        server.execute(sql + create_undo_table(schema), schema=schema)
        yield Place(server.port, schema, _USER, _PASSWORD), server
