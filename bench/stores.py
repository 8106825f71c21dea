"""The stores that can be measured, by name: how a client of each is made, and how its writes are counted."""

from __future__ import annotations

import re
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from globaltx.stores.etcd.access import EtcdAccess
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.stores.kubernetes.access import from_kubeconfig
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.store import KubernetesStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from dev.cluster.cluster import Cluster
    from dev.etcd import Etcd
    from globaltx.stores.base import Store

KINDS = ("kubernetes", "etcd")
"""Those that a sidecar of the benchmark can be given."""
_WRITES = re.compile(
    r'^apiserver_request_total\{[^}]*resource="(?:globaltransactions|branches|events)"[^}]*'
    r'verb="(?:POST|PUT|PATCH|APPLY|DELETE)"[^}]*\} (?P<count>\S+)',
    re.MULTILINE,
)
_PROPOSALS = re.compile(r"^etcd_server_proposals_applied_total (?P<count>\S+)", re.MULTILINE)
_NAMESPACE = "default"


class Measured(Protocol):
    """A store under measurement."""

    def store(self) -> AbstractAsyncContextManager[Store]:
        """A store over a client of its own."""

    def writes(self) -> float:
        """How many writes its server has had so far."""


class Kubernetes:
    """The resources themselves, in a control plane of this machine."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The store, with the administrator's rights."""
        async with KubernetesClient(from_kubeconfig(str(self._cluster.kubeconfig))) as client:
            yield KubernetesStore(client, _NAMESPACE)

    def writes(self) -> float:
        """What the API server has counted: resources of ours, and Events."""
        told = self._cluster.kubectl("get", "--raw", "/metrics")
        return sum(float(found["count"]) for found in _WRITES.finditer(told))


class OwnEtcd:
    """An etcd of its own, one member, which waits for the disk."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The store."""
        async with EtcdClient(EtcdAccess(self._etcd.endpoints, self._etcd.credentials)) as client:
            yield EtcdStore(client, _NAMESPACE)

    def writes(self) -> float:
        """What its members have agreed on; several calls may share one."""
        with urllib.request.urlopen(f"{self._etcd.members[0].web}/metrics", timeout=10) as answer:  # noqa: S310
            found = _PROPOSALS.search(answer.read().decode())
        return 0.0 if found is None else float(found["count"])
