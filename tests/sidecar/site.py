"""Where a sample runs as processes: which cluster and namespace, and what keeps its transactions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from globaltx.manifest.settings import EtcdSettings, HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.ledgers import InEtcd, InKubernetes
from tests.sidecar.programs import BIN, LEASE, Program, SidecarProgram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dev.cluster.cluster import Cluster
    from dev.etcd import Etcd
    from globaltx.coordinator.policy import HttpCapture
    from globaltx.manifest.settings import DatasourceSettings
    from tests.sidecar.ledgers import Ledger
    from tests.sidecar.programs import Account

IN_KUBERNETES = "kubernetes"
IN_ETCD = "etcd"
STORES = (IN_KUBERNETES, IN_ETCD)
EACH_STORE = (IN_KUBERNETES, pytest.param(IN_ETCD, marks=pytest.mark.etcd))
"""Of a fixture, or of a test, that wants each of them."""


@dataclass(frozen=True)
class Site:
    """A namespace of a cluster, a folder, and an etcd where that keeps the transactions."""

    cluster: Cluster
    namespace: str
    folder: Path
    etcd: Etcd | None = None

    @property
    def store(self) -> str:
        """Which of `STORES` it is."""
        return IN_KUBERNETES if self.etcd is None else IN_ETCD

    @property
    def prefix(self) -> str:
        """What the keys in the etcd begin with."""
        return f"/{self.namespace}/"

    @property
    def etcd_settings(self) -> EtcdSettings | None:
        """What programs are told of it."""
        return None if self.etcd is None else EtcdSettings(self.etcd.endpoints, self.prefix)

    @property
    def ledger(self) -> Ledger:
        """Where the transactions are looked up."""
        if self.etcd is None:
            return InKubernetes(self.cluster, self.namespace)
        return InEtcd(self.etcd, self.prefix, self.namespace)

    def sidecar(
        self,
        settings: SidecarSettings,
        account: Account | None = None,
        *,
        pod: str = "",
        kubeconfig: Path | None = None,
    ) -> SidecarProgram:
        """A sidecar that keeps its transactions there."""
        told = replace(settings, etcd=self.etcd_settings)
        return SidecarProgram(told, self.folder, kubeconfig or self.cluster.kubeconfig, account, pod=pod)

    def capturing(
        self,
        app: str,
        port: int,
        capture: HttpCapture,
        sources: Sequence[DatasourceSettings] = (),
        account: Account | None = None,
    ) -> SidecarProgram:
        """The sidecar of an app at this port, before which it stands as a policy says."""
        listening = (free_port(), LOOPBACK, capture.edge, capture.joins_by_trace)
        settings = SidecarSettings(
            namespace=self.namespace,
            app=app,
            http=HttpSettings(port, capture.routes, *listening),
            datasources=tuple(sources),
            control_port=free_port(),
        )
        return self.sidecar(settings, account)

    def operator(self, number: int = 0) -> Program:
        """A replica of the operator, for this namespace only."""
        name, port, etcd = f"operator-{number}", free_port(), self.etcd_settings
        return Program(
            name=name,
            command=[
                *(str(BIN / "globaltx-operator"), "--namespace", self.namespace),
                *("--namespaces", self.namespace, "--host", LOOPBACK, "--port", str(port), *LEASE),
            ],
            ready=f"http://{LOOPBACK}:{port}/readyz",
            log=self.folder / f"{name}.log",
            environment={
                "KUBECONFIG": str(self.cluster.kubeconfig),
                "POD_NAME": name,
                "GLOBALTX_ETCD_ENDPOINTS": ",".join(etcd.endpoints) if etcd else "",
                "GLOBALTX_ETCD_PREFIX": self.prefix,
            },
        )


def new_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str, store: str
) -> Site:
    """A namespace of the session's control plane, whose transactions are kept in one of `STORES`."""
    cluster: Cluster = request.getfixturevalue("control_plane")
    namespace = f"{name}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    etcd: Etcd | None = request.getfixturevalue("etcd") if store == IN_ETCD else None
    return Site(cluster, namespace, tmp_path_factory.mktemp(name), etcd)
