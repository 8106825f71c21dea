from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.bank.stage import Banks
from tests.sidecar.site import IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def banks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banks]:
    """The sample, running, in the store of the parameter; what a test kills it starts again."""
    store = getattr(request, "param", IN_KUBERNETES)
    with Banks(new_site(request, tmp_path_factory, "banks", store)) as running:
        yield running
