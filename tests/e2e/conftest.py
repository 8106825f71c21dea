"""The order sample in real pods; what it takes to get there is the demo's own code."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.demo import deploy, places
from dev.demo.shop import Shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

NAME = "e2e"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs pods; the first of them waits for a whole cluster and its images."""
    for item in items:
        here = item.path.is_relative_to(Path(__file__).parent)  # the hook is shown every item there is
        if here and "place" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.full_cluster)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def shop_namespace() -> str:
    """A namespace that nobody else uses."""
    return f"shop-{secrets.token_hex(3)}"


@pytest.fixture(scope="session")
def place(shop_namespace: str) -> Iterator[Place]:
    """A cluster that runs pods, with globaltx and the sample in it."""
    found = places.local(shop_namespace, NAME)
    try:
        deploy.install(found.kubectl, found.images)
        deploy.deploy(found.kubectl, found.images, found.database_manifests, shop_namespace)
        yield found
    finally:
        found.clean_up()


@pytest.fixture(scope="session")
def shop(place: Place, shop_namespace: str) -> Shop:
    """The sample, ready for orders."""
    return Shop(place.kubectl, shop_namespace, place.database)
