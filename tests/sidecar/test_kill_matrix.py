"""Kill -9 at ten moments of two requests; `python -m tests.sidecar.shop --all` runs every victim at each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.shop.matrix import Cell, diagonal, quick, run
from tests.sidecar.shop.stage import SQL, Shop
from tests.sidecar.site import IN_ETCD, IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.control_plane,
    pytest.mark.database,
    pytest.mark.kill,
    pytest.mark.timeout(300),
]
QUICK = set(map(str, quick()))
CELLS = [
    *(pytest.param(IN_KUBERNETES, cell, marks=pytest.mark.deep) for cell in diagonal()),
    *(
        pytest.param(IN_ETCD, cell, marks=[pytest.mark.etcd] + [pytest.mark.deep] * (str(cell) not in QUICK))
        for cell in diagonal()
    ),
]


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The sample in the store of the parameter."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    site = new_site(request, tmp_path_factory, "kill", request.param)
    with (
        MariaDB.up(f"{site.namespace}-{os.getpid()}", sql=SQL) as database,
        Shop(site, database) as running,
    ):
        yield running


@pytest.mark.parametrize(("shop", "cell"), CELLS, indirect=["shop"], ids=str, scope="module")
def test_both_databases_agree_and_nothing_is_left(shop: Shop, cell: Cell) -> None:
    finding = run(shop, cell)
    assert finding.holds, finding
