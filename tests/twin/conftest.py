from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.twin.places import pair_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.databases import Server
    from tests.twin.pair import Pair


@pytest.fixture(scope="module")
def pair(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Datasources behind sidecars, and as many schemas without, for all tests of a module."""
    with pair_in(server, tmp_path_factory.mktemp("credentials")) as made:
        yield made
