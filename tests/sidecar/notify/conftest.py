from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sidecar.notify.stage import Notified
from tests.sidecar.site import EACH_STORE, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=EACH_STORE)
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notified]:
    """Everything, running, in each store; what a test kills it starts again."""
    with Notified(new_site(request, tmp_path_factory, "notify", request.param)) as running:
        running.apply(running.policy())
        yield running


@pytest.fixture
def notified(stage: Notified) -> Notified:
    """The same, with nothing in the way."""
    stage.clear()
    return stage
