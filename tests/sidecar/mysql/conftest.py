"""A schema with the order sample's tables in a real MariaDB, and a sidecar in front of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from globaltx.modes.guard_row import create_guard_table
from globaltx_sidecar.branch import registrar
from globaltx_sidecar.guards import Guards
from tests.sidecar.mysql.guarding import Guarding
from tests.sidecar.mysql.harness import WAIT_SECONDS, Place, Proxy, write_credentials
from tests.sidecar.mysql.meter import TripMeter

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
def large_packets(server: Server) -> Iterator[None]:
    """The server takes 64 MiB in one packet, as long as this test runs."""
    server.execute("SET GLOBAL max_allowed_packet = 67108864")
    yield
    server.execute("SET GLOBAL max_allowed_packet = DEFAULT")


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return write_credentials(tmp_path)


@pytest.fixture
def meter(place: Place) -> Iterator[TripMeter]:
    """Between the sidecar of `metered` and the database."""
    with TripMeter(place.port) as counting:
        yield counting


@pytest.fixture
def metered(
    meter: TripMeter, place: Place, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """A sidecar that remembers what was joined for longer than a test lasts."""
    monkeypatch.setattr(registrar, "KEEP_SECONDS", WAIT_SECONDS * 10)
    with Proxy(replace(place, port=meter.port), credentials) as running:
        yield running


@pytest.fixture
def proxy(place: Place, credentials: Path) -> Iterator[Proxy]:
    with Proxy(place, credentials) as running:
        yield running


@pytest.fixture
def bank(place: Place, credentials: Path) -> Iterator[Guarding]:
    place.run(create_guard_table(place.schema))
    heard = Guards("shop", "bank")
    with Guarding(place, credentials, guards=heard, guards_calls=True) as running:
        running.heard = heard
        yield running
