from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.site import IN_KUBERNETES, new_site
from tests.sidecar.trip.stage import Trips

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def trips(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trips]:
    """The sample, running, in the store of the parameter; what a test kills it starts again."""
    store = getattr(request, "param", IN_KUBERNETES)
    with Trips(new_site(request, tmp_path_factory, "trips", store)) as running:
        yield running
