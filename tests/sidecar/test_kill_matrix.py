"""Kill -9 at ten moments of two requests; `python -m tests.sidecar.shop --all` runs every victim at each."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.shop.matrix import Cell, diagonal, run
from tests.sidecar.shop.stage import SQL, Shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.cluster.cluster import Cluster

pytestmark = [
    pytest.mark.control_plane,
    pytest.mark.database,
    pytest.mark.kill,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def shop(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    name = f"kill-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", name)
    folder: Path = tmp_path_factory.mktemp("shop")
    with (
        MariaDB.up(f"{name}-{os.getpid()}", sql=SQL) as database,
        Shop(control_plane, database, name, folder) as running,
    ):
        yield running


@pytest.mark.parametrize("cell", diagonal(), ids=str)
def test_both_databases_agree_and_nothing_is_left(shop: Shop, cell: Cell) -> None:
    finding = run(shop, cell)
    assert finding.holds, finding
