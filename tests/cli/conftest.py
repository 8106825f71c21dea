from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.databases import MariaDB

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A MariaDB of these tests' own."""
    with MariaDB.up(folder=tmp_path_factory.mktemp("mariadb") / "db", durable=False) as database:
        yield database
