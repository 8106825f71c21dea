from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.guarded.stage import Guarded
from tests.sidecar.site import IN_ETCD, IN_KUBERNETES, new_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.databases import Server


@contextmanager
def staged(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
    store: str,
    *,
    guards: bool = True,
) -> Iterator[Guarded]:
    """The participant, running, over a schema of its own."""
    schema = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    try:
        with Guarded(
            new_site(request, tmp_path_factory, "guarded", store), server, schema, guards=guards
        ) as running:
            running.wait_for_table()
            yield running
    finally:
        server.execute(f"DROP DATABASE {schema}")


@pytest.fixture(
    scope="module", params=[IN_KUBERNETES, pytest.param(IN_ETCD, marks=[pytest.mark.etcd, pytest.mark.deep])]
)
def account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Guarded]:
    """The participant in each store, in front of each server; what a test kills it starts again."""
    with staged(request, tmp_path_factory, server, request.param) as running:
        yield running


@pytest.fixture(scope="module")
def unguarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Guarded]:
    """The same without guard rows."""
    with staged(request, tmp_path_factory, server, IN_KUBERNETES, guards=False) as running:
        yield running
