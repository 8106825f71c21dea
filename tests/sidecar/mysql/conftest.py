"""A schema with the order sample's tables in a real MariaDB, and a sidecar in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.mysql.harness import Place, Proxy, write_credentials

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
    return Place.made(server, schema, TABLES)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return write_credentials(tmp_path)


@pytest.fixture
def proxy(place: Place, credentials: Path) -> Iterator[Proxy]:
    with Proxy(place, credentials) as running:
        yield running
