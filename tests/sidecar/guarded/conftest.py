from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.sidecar.guarded.stage import Guarded, GuardedByGrpc
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
    kind: type[Guarded] = Guarded,
    guards: bool = True,
) -> Iterator[Guarded]:
    """The participant, running, over a schema of its own."""
    schema = f"t_{secrets.token_hex(6)}"
    server.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
    try:
        with kind(
            new_site(request, tmp_path_factory, "guarded", store), server, schema, guards=guards
        ) as running:
            running.wait_for_table()
            yield running
    finally:
        server.execute(f"DROP DATABASE {schema}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((IN_KUBERNETES, Guarded), id="kubernetes"),
        pytest.param((IN_KUBERNETES, GuardedByGrpc), id="grpc"),
        pytest.param((IN_ETCD, Guarded), id="etcd", marks=[pytest.mark.etcd, pytest.mark.deep]),
        pytest.param((IN_ETCD, GuardedByGrpc), id="etcd-grpc", marks=[pytest.mark.etcd, pytest.mark.deep]),
    ],
)
def account(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Guarded]:
    """The participant in each store, by each protocol, before each server; who dies starts again."""
    store, kind = request.param
    with staged(request, tmp_path_factory, server, store, kind=kind) as running:
        yield running


@pytest.fixture(scope="module")
def unguarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Guarded]:
    """The same without guard rows."""
    with staged(request, tmp_path_factory, server, IN_KUBERNETES, guards=False) as running:
        yield running
