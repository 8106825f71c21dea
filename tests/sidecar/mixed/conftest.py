from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.mixed.stage import Mixed
from tests.sidecar.shop.stage import SQL
from tests.sidecar.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster import Cluster


@pytest.fixture(scope="module")
def mixed(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """The sample, running; what a test kills it starts again."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run

    name = f"mixed-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", name)
    with (
        MariaDB.up(f"{name}-{os.getpid()}", sql=SQL, durable=False) as database,
        Mixed(Site(control_plane, name, tmp_path_factory.mktemp("mixed")), database) as running,
    ):
        running.wait_for_undo_table()
        yield running
