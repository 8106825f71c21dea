"""The order sample as processes on loopback: no pods, but everything else is real.

A control plane, a MariaDB, two replicas of the operator, the sample's three services, and a
sidecar for each. Every one of them can be killed and started again.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.manifest.settings import SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import Account, datasource, get, http_settings, reached_by, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dev.databases import MariaDB
    from dev.etcd import Etcd
    from tests.sidecar.ledgers import Stand
    from tests.sidecar.programs import Program, SidecarProgram
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "01-order"
SQL = "".join(
    (SAMPLE / "database" / "sql" / f"{name}.sql").read_text()
    for name in ("order", "product", "banks", "accounts")
)
TIMEOUT = timedelta(seconds=15)
ROUTES = (
    Route("create", path="/v1/order/create", timeout=TIMEOUT),
    Route("create2", path="/v1/order/create2", timeout=TIMEOUT),
)
SIDECAR_ACCOUNT = Account("globaltx", "globaltx-demo")
REQUEST_SECONDS = 60.0
OK = 200
LAST, LOG_CHARACTERS = 5, 2000
"""How much is told of transactions and of logs where something has not come about."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What the two databases hold."""

    masters: int
    items: int
    available: int
    allocated: int
    undo_order: int
    undo_product: int

    def __sub__(self, other: Rows) -> Rows:
        return Rows(
            self.masters - other.masters,
            self.items - other.items,
            self.available - other.available,
            self.allocated - other.allocated,
            self.undo_order,
            self.undo_product,
        )


ORDERED = Rows(1, 1, -2, 2, 0, 0)
"""What an order changes."""
NOTHING = Rows(0, 0, 0, 0, 0, 0)


class Shop:
    """The sample, running; an inner context for each program."""

    def __init__(self, site: Site, database: MariaDB, operators: int = 2) -> None:
        self.site = site
        self.cluster = site.cluster
        self.database = database
        self.namespace = site.namespace
        self._stack = ExitStack()
        order, product = (datasource(name, name, database.port) for name in ("order", "product"))
        ports = {name: free_port() for name in ("aggregation", "order", "product")}
        http = http_settings(ports["aggregation"], ROUTES)
        self.aggregation_sidecar = self._sidecar("aggregation-svc", http=http)
        self.order_sidecar = self._sidecar("order-svc", datasources=(order,))
        self.product_sidecar = self._sidecar("product-svc", datasources=(product,))
        self.operators = [site.operator(number) for number in range(operators)]
        self.aggregation = self._service(
            "aggregation",
            ports,
            ORDER_URL=f"http://{LOOPBACK}:{ports['order']}",
            PRODUCT_URL=f"http://{LOOPBACK}:{ports['product']}",
        )
        self.order = self._service("order", ports, **reached_by(order))
        self.product = self._service("product", ports, **reached_by(product))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for program in self.programs:
                program.launch()
                stack.callback(program.kill)
            for program in self.programs:
                program.wait_ready(60)
            self._wait_for_undo_tables()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def programs(self) -> Sequence[Program]:
        """All of them."""
        return (
            *self.operators,
            self.aggregation_sidecar,
            self.order_sidecar,
            self.product_sidecar,
            self.aggregation,
            self.order,
            self.product,
        )

    def ask(self, path: str = "/v1/order/create") -> tuple[int, str]:
        """Send a client's request; 0 when there was no answer."""
        return get(self.aggregation_sidecar.url + path, method="POST", body=b"{}", seconds=REQUEST_SECONDS)

    def rows(self) -> Rows:
        """Look at both databases, past the sidecars."""
        counts = (
            "(SELECT COUNT(*) FROM `order`.so_master)",
            "(SELECT COUNT(*) FROM `order`.so_item)",
            "(SELECT available_qty FROM product.inventory WHERE sysno = 1)",
            "(SELECT allocated_qty FROM product.inventory WHERE sysno = 1)",
            "(SELECT COUNT(*) FROM `order`.globaltx_undo WHERE table_name <> '')",
            "(SELECT COUNT(*) FROM product.globaltx_undo WHERE table_name <> '')",
        )
        found = self.database.execute("SELECT " + ", ".join(counts)).split()
        return Rows(*(int(each) for each in found))

    def leading_operator(self) -> Program:
        """The replica that holds the lease."""
        path = "jsonpath={.spec.holderIdentity}"
        holder = self.cluster.kubectl("get", "lease", "globaltx-operator", "-n", self.namespace, "-o", path)
        return next(each for each in self.operators if holder.startswith(each.name + "-"))

    def unsettled(self) -> list[str]:
        """The transactions and branches that are not at their end."""
        found = unsettled_in(self.site.etcd, self.site.prefix) if self.site.etcd else []
        for kind in ("globaltransactions", "branches"):
            path = "{range .items[*]}{.metadata.name} {.status.state}{'\\n'}{end}"
            said = self.cluster.kubectl("get", kind, "-n", self.namespace, "-o", f"jsonpath={path}")
            found += [f"{kind} {line}" for line in said.splitlines() if line.split()[-1] not in _ENDS]
        return found

    def stands(self) -> dict[str, Stand]:
        """How each transaction stands where they are kept."""
        return self.site.ledger.stands()

    def events(self, transaction: str) -> int:
        """How many Events tell of a transaction and its branches."""
        path = "jsonpath={.items[*].involvedObject.name}"
        told = self.cluster.kubectl("get", "events", "-n", self.namespace, "-o", path)
        return sum(each.startswith(transaction) for each in told.split())

    def crash_store(self) -> None:
        """End what keeps the transactions, as a crash does."""
        if self.site.etcd is None:
            self.cluster.crash("kube-apiserver")
        else:
            self.site.etcd.members[0].crash()

    def start_store(self) -> None:
        """Start it again."""
        if self.site.etcd is None:
            self.cluster.start("kube-apiserver")
        else:
            self.site.etcd.members[0].start()

    def settle(self, seconds: float = 90) -> None:
        """Wait until nothing is under way any more."""

        def nothing_left() -> bool:
            rows = self.rows()
            return not self.unsettled() and rows.undo_order == rows.undo_product == 0

        wait_for(f"all to be settled; left: {self.unsettled()}", nothing_left, seconds=seconds, every=0.1)

    def situation(self) -> str:
        """What there is to see when something has not come about."""
        statements = "SELECT USER, DB, COMMAND, TIME_MS, STATE, INFO FROM information_schema.PROCESSLIST"
        stands = [f"{name}: {stand}" for name, stand in sorted(self.stands().items())[-LAST:]]
        logs = [f"{each.name}:\n{each.log.read_text()[-LOG_CHARACTERS:]}" for each in self.programs]
        return "\n".join(
            ("statements:", self.database.execute(statements), *stands, *self.unsettled(), *logs)
        )

    def _sidecar(self, app: str, **parts: Any) -> SidecarProgram:
        settings = SidecarSettings(namespace=self.namespace, app=app, control_port=free_port(), **parts)
        return self.site.sidecar(settings, SIDECAR_ACCOUNT)

    def _service(self, name: str, ports: dict[str, int], **environment: str) -> Program:
        words = [SAMPLE / "services" / f"{name}.py"]
        return service(f"{name}-svc", words, ports[name], self.site.folder, **environment)

    def warm_up(self) -> None:
        """Order once, so that no sidecar looks at tables for the first time while a test has them locked."""
        self._wait_for_undo_tables()
        status, said = self.ask()
        if status != OK:
            message = f"an order that nothing disturbs was answered {status}: {said}"
            raise RuntimeError(message)
        self.settle()

    def _wait_for_undo_tables(self) -> None:
        for sidecar, name in ((self.order_sidecar, "order"), (self.product_sidecar, "product")):
            part = f"undo table of {name}"
            wait_for(part, partial(_is_up, sidecar, part), seconds=20)


def unsettled_in(etcd: Etcd, prefix: str) -> list[str]:
    """The transactions without a decision, and the branches without an end, by their keys."""
    keys = etcd.keys(prefix)
    open_ones = {key for key in keys if "/branch/" in key and key.replace("/branch/", "/end/") not in keys}
    begun = {key for key in keys if key.endswith("/begin")}
    return sorted(open_ones | {key for key in begun if key.replace("/begin", "/decision") not in keys})


def _is_up(sidecar: SidecarProgram, part: str) -> bool:
    return bool(sidecar.parts().get(part, {}).get("up"))


_ENDS = {"Committed", "RolledBack"}
