from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.stage import Banks
from tests.sidecar.shop.stage import SQL
from tests.sidecar.site import IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def banks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    """The sample, running, in the store of the parameter; what a test kills it starts again."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    store = getattr(request, "param", IN_KUBERNETES)
    site = new_site(request, tmp_path_factory, "banks", store)
    with (
        MariaDB.up(f"{site.namespace}-{os.getpid()}", sql=SQL, durable=False) as database,
        Banks(site, database) as running,
    ):
        yield running
