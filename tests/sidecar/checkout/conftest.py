from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.checkout.stage import Checkouts
from tests.sidecar.site import IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def checkouts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkouts]:
    """The sample, running, in the store of the parameter; what a test kills it starts again."""
    store = getattr(request, "param", IN_KUBERNETES)
    with Checkouts(new_site(request, tmp_path_factory, "checkouts", store)) as running:
        yield running
