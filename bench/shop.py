"""The order sample's topology for the load: three sidecars, the operator, and the application compiled.

The application of `bench/driver` stands where the sample's three services are: it gets the request
and has both databases. It runs twice, once behind the sidecars, once straight at the database.
"""

from __future__ import annotations

import contextlib
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

from bench.durable import OPTIONS
from bench.load import Work, serving
from bench.processes import cpu_seconds
from bench.spending import Spent, cpu_of
from bench.stores import Kubernetes, OwnEtcd
from dev.cluster.cluster import Cluster
from dev.databases import MariaDB
from dev.etcd import Etcd
from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.manifest.settings import EtcdSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import (
    BIN,
    Account,
    Program,
    SidecarProgram,
    datasource,
    http_settings,
)
from tests.sidecar.shop.stage import SQL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.stores import Measured

NAME = "bench"
PRODUCTS = 64
_ACCOUNT = Account("globaltx", "globaltx-demo")
_TIMEOUT = timedelta(seconds=60)
_ROUTES = (
    Route("create", path="/v1/order/create", timeout=_TIMEOUT),
    Route("create2", path="/v1/order/create2", timeout=_TIMEOUT),
)
_CRDS = Path(__file__).parent.parent / "crds"
_SETTLE_SECONDS = 120
_PRODUCTS_SQL = f"""
USE product;
INSERT IGNORE INTO product.product SELECT seq, 'phone', 6799 FROM seq_1_to_{PRODUCTS};
REPLACE INTO product.inventory SELECT seq, seq, 1000000, 1000000, 0, 0 FROM seq_1_to_{PRODUCTS};
"""


class Control:
    """A durable control plane, and the operator in it, inside the context."""

    def __init__(self, folder: Path, store: str = "kubernetes") -> None:
        self._folder = folder
        self._store = store
        self.etcd: Etcd | None = None
        self._stack = ExitStack()
        self.cluster: Cluster
        self.measured: Measured
        self.operator: Program

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.cluster = stack.enter_context(Cluster.up(NAME, "control-plane", durable=True))
            self.cluster.kubectl("apply", "--server-side", "-f", str(_CRDS))
            self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(_CRDS))
            self.measured = Kubernetes(self.cluster)
            if self._store == "etcd":
                self.etcd = stack.enter_context(Etcd.up(NAME, durable=True))
                self.measured = OwnEtcd(self.etcd)
            self.operator = stack.enter_context(_operator(self._folder, self.cluster, self.etcd))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sidecar(self, settings: SidecarSettings) -> SidecarProgram:
        """A sidecar that uses the store, not started yet."""
        etcd = EtcdSettings(self.etcd.endpoints) if self.etcd else None
        settings = replace(settings, control_port=free_port(), etcd=etcd)
        return SidecarProgram(settings, self._folder, self.cluster.kubeconfig, _ACCOUNT)

    def spent(self, sidecars: Iterable[SidecarProgram]) -> Spent:
        """The CPU time that these, the operator, and the store's own etcd have taken."""
        etcd = self.etcd.processes() if self.etcd else ()
        return Spent(cpu_of((*sidecars, self.operator)), sum(cpu_seconds(each.pid) for each in etcd))


def _operator(folder: Path, cluster: Cluster, etcd: Etcd | None) -> Program:
    port = free_port()
    return Program(
        name="operator",
        command=[
            *(str(BIN / "globaltx-operator"), "--namespace", "default", "--namespaces", "default"),
            *("--host", LOOPBACK, "--port", str(port)),
        ],
        ready=f"http://{LOOPBACK}:{port}/readyz",
        log=folder / "operator.log",
        environment={
            "KUBECONFIG": str(cluster.kubeconfig),
            "POD_NAME": "operator",
            "GLOBALTX_ETCD_ENDPOINTS": ",".join(etcd.endpoints) if etcd else "",
        },
    )


class Shop:
    """All of it, running inside the context; ``direct`` and ``hinted`` are where orders are sent."""

    LEFT = (
        "SELECT (SELECT COUNT(*) FROM `order`.globaltx_undo WHERE table_name <> '')"
        " + (SELECT COUNT(*) FROM product.globaltx_undo WHERE table_name <> '')"
    )

    def __init__(self, store: str, *, prepared: bool = False) -> None:
        self._store = store
        self._prepared = prepared
        self._stack = ExitStack()
        self.cluster: Cluster
        self.database: MariaDB
        self.measured: Measured
        self.operator: Program
        self._control: Control
        self.direct = self.hinted = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._control = control = stack.enter_context(Control(folder, self._store))
            self._sidecar = control.sidecar
            self.cluster, self.measured, self.operator = control.cluster, control.measured, control.operator
            sql = SQL + _PRODUCTS_SQL
            self.database = stack.enter_context(MariaDB.up(f"{NAME}-shop", sql=sql, options=OPTIONS))
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack) -> None:
        order, product = (datasource(name, name, self.database.port) for name in ("order", "product"))
        application = free_port()
        self.order = self._sidecar(SidecarSettings("default", "order-svc", datasources=(order,)))
        self.product = self._sidecar(SidecarSettings("default", "product-svc", datasources=(product,)))
        http = http_settings(application, _ROUTES)
        self.front = self._sidecar(SidecarSettings("default", "aggregation-svc", http=http))
        programs = (self.order, self.product, self.front)
        for each in programs:
            each.launch()
            stack.callback(each.kill)
        direct = self._application(self.database.port, self.database.port)
        self.direct = f"http://{LOOPBACK}:{stack.enter_context(direct)}"
        behind = self._application(order.listen_port, product.listen_port, application)
        stack.enter_context(behind)
        self.hinted = self.front.url
        for each in programs:
            each.wait_ready(60)
        for sidecar, name in ((self.order, "order"), (self.product, "product")):
            part = f"undo table of {name}"
            wait_for(part, partial(_is_up, sidecar, part), seconds=30)

    def _application(self, order: int, product: int, port: int = 0) -> contextlib.AbstractContextManager[int]:
        flags = [
            f"-orders=dksl:123456@tcp({LOOPBACK}:{order})/order",
            f"-products=dksl:123456@tcp({LOOPBACK}:{product})/product",
            f"-prepared={str(self._prepared).lower()}",
        ]
        return serving("serve", *flags, port=port)

    def orders(self, *, hinted: bool, path: str = "create", **rest: Any) -> Work:
        """Orders through the sidecars, or straight at the application."""
        url = self.hinted if hinted else self.direct
        return Work("order", url=f"{url}/v1/order/{path}", **rest)

    def settle(self) -> None:
        """Wait until nothing of what was sent is under way any more, so that the next round is alone."""
        wait_for("all to be settled", lambda: self._left() == 0, seconds=_SETTLE_SECONDS, every=0.1)

    def _left(self) -> int:
        return int(self.database.execute(self.LEFT))

    def spent(self) -> Spent:
        """The CPU time that the sidecars, the operator, and the store's own etcd have taken."""
        return self._control.spent((self.order, self.product, self.front))

    def resident_mib(self, program: Program) -> float:
        """The memory that one of the programs keeps."""
        if program.process is None:  # a bug: they were started
            raise RuntimeError
        return float(psutil.Process(program.process.pid).memory_info().rss) / 2**20


def _is_up(sidecar: SidecarProgram, part: str) -> bool:
    return bool(sidecar.parts().get(part, {}).get("up"))
