from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.etcd import Etcd
from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
async def client(etcd: Etcd) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(EtcdAccess(etcd.endpoints)) as made:
        yield made


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """One member that a test may break."""
    with Etcd.up(folder=tmp_path / "etcd", durable=False) as etcd:
        yield etcd


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """Three members behind TLS and a password."""
    folder = tmp_path_factory.mktemp("etcd") / "etcd"
    with Etcd.up(folder=folder, members=3, tls=True, password="secret", durable=False) as etcd:
        yield etcd
