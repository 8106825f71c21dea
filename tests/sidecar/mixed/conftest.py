from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.mixed.stage import Mixed
from tests.sidecar.shop.stage import SQL
from tests.sidecar.site import IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def mixed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """The sample, running; what a test kills it starts again."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    site = new_site(request, tmp_path_factory, "mixed", IN_KUBERNETES)
    with (
        MariaDB.up(f"{site.namespace}-{os.getpid()}", sql=SQL, durable=False) as database,
        Mixed(site, database) as running,
    ):
        running.wait_for_tables()
        yield running
