"""A declared saga where transactions are kept in an etcd: it is a resource all the same."""

from __future__ import annotations

import pytest

from tests.sidecar.saga.stage import Sagas
from tests.sidecar.site import IN_ETCD, new_site

pytestmark = [pytest.mark.control_plane, pytest.mark.etcd, pytest.mark.timeout(300)]


def test_it_is_conducted_on_its_resources(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = Sagas(new_site(request, tmp_path_factory, "sagas", IN_ETCD))
    made.apply(made.policy())
    with made as sagas:
        free = sagas.free()
        assert sagas.wait(sagas.apply(sagas.trip()))["status"]["state"] == "Committed"
        assert sagas.free() != free
        free = sagas.free()
        unpayable = sagas.step("payment", 10**6, dependsOn=["flight"])
        found = sagas.wait(sagas.apply(sagas.trip(sagas.step("flight"), unpayable)), "False")
        assert found["status"]["state"] == "RolledBack"
        assert sagas.free() == free
