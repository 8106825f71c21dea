from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.saga.stage import Sagas
from tests.sidecar.site import IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sagas]:
    """Everything, running, in the store of the parameter; what a test kills it starts again."""
    store = getattr(request, "param", IN_KUBERNETES)
    made = Sagas(new_site(request, tmp_path_factory, "sagas", store))
    made.apply(made.policy())
    with made as running:
        yield running


@pytest.fixture
def sagas(stage: Sagas) -> Sagas:
    """The same, with nothing in the way."""
    stage.clear()
    return stage
