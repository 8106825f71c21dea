from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.shop.stage import SQL
from tests.sidecar.site import Site
from tests.sidecar.traced.stage import Traced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster


@pytest.fixture(scope="module")
def traced(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """The sample, running."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    name = f"traced-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", name)
    with (
        MariaDB.up(f"{name}-{os.getpid()}", sql=SQL, durable=False) as database,
        Traced(Site(control_plane, name, tmp_path_factory.mktemp("traced")), database) as running,
    ):
        running.wait_for_undo_tables()
        yield running
