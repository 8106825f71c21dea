"""A schema with the order sample's tables in a real MariaDB, and a sidecar in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from globaltx.undo.table import create_undo_table
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, RESOURCE, Place, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.databases import Server

TABLES = """
CREATE TABLE item (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(64), amount INT NOT NULL DEFAULT 0);
CREATE TABLE keyed (
  code VARCHAR(32) PRIMARY KEY, note TEXT, price DECIMAL(10,2), born DATETIME(6), data LONGBLOB, ratio DOUBLE
);
CREATE TABLE keyless (name VARCHAR(64));
INSERT INTO item VALUES (1, 'bolt', 100), (2, 'nut', 200), (3, 'washer', 300);
"""


@pytest.fixture
def place(server: Server, schema: str) -> Place:
    server.execute(
        f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{PASSWORD}';"
        f"GRANT ALL ON {schema}.* TO '{ACCOUNT}'@'%';"
    )
    server.execute(TABLES, schema=schema)
    server.execute(create_undo_table(schema))
    return Place("127.0.0.1", server.port, schema)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / RESOURCE
    folder.mkdir()
    (folder / "username").write_text(ACCOUNT)
    (folder / "password").write_text(PASSWORD)
    return tmp_path


@pytest.fixture
def proxy(place: Place, credentials: Path) -> Iterator[Proxy]:
    with Proxy(place, credentials) as running:
        yield running
