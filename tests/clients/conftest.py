"""A driver, a schema in a real database, and a sidecar in front of it."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dev.databases import MariaDB
from tests.clients.conversation import Address, Client
from tests.clients.programs import DRIVERS
from tests.clients.story import TABLES, introduce
from tests.sidecar.mysql.harness import ACCOUNT, PASSWORD, WAIT_SECONDS, Place, Proxy, write_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.databases import Server
    from tests.clients.programs import Driver


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    why = chosen.language.provide()
    if why is not None:
        pytest.skip(why)
    return chosen


@pytest.fixture
def refused_batches(driver: Driver, server: Server) -> list[str]:
    """The verbs whose batches are refused with an xid, because of how this driver sends them."""
    return list(driver.in_bulk) if isinstance(server, MariaDB) else []


@pytest.fixture
def place(server: Server, schema: str) -> Place:
    """The schema that the sidecar stands before."""
    return Place.made(server, schema, TABLES)


@pytest.fixture
def twin(server: Server) -> Iterator[Place]:
    """A schema that looks the same, for the run without a sidecar."""
    name = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield Place.made(server, name, TABLES)
    server.execute(f"DROP DATABASE {name}")


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return write_credentials(tmp_path)


@pytest.fixture
def proxy(place: Place, credentials: Path) -> Iterator[Proxy]:
    with Proxy(place, credentials) as running:
        yield running


@pytest.fixture
def patient(place: Place, credentials: Path) -> Iterator[Proxy]:
    """A sidecar that waits for locks as long as these tests take."""
    with Proxy(place, credentials, lock_wait=timedelta(seconds=WAIT_SECONDS)) as running:
        yield running


@pytest.fixture
def patient_client(driver: Driver, patient: Proxy) -> Iterator[Client]:
    """The driver, connected through that one."""
    introduce(driver, patient.place)
    with Client(driver, _address(patient.place, patient.port)) as connected:
        yield connected


@pytest.fixture
def client(driver: Driver, proxy: Proxy) -> Iterator[Client]:
    """The driver, connected through the sidecar."""
    introduce(driver, proxy.place)
    with Client(driver, _address(proxy.place, proxy.port)) as connected:
        yield connected


@pytest.fixture
def direct(driver: Driver, twin: Place) -> Iterator[Client]:
    """The same driver, connected to the twin without a sidecar."""
    with Client(driver, _address(twin, twin.port)) as connected:
        yield connected


def _address(place: Place, port: int) -> Address:
    return Address("127.0.0.1", port, ACCOUNT, PASSWORD, place.schema)
