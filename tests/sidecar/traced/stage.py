"""The example without a line of code, as processes on loopback: stock OpenTelemetry, real databases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.waiting import wait_for
from tests.ports import free_port
from tests.sidecar.bank.stage import Stage, routes
from tests.sidecar.programs import datasource, reached_by, service
from tests.sidecar.shop.stage import SIDECAR_ACCOUNT

if TYPE_CHECKING:
    from dev.databases import MariaDB
    from tests.sidecar.programs import Program, SidecarProgram
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "06-no-code"
DATABASES = {"orders": "order", "stock": "product"}


class Traced(Stage):
    """Orders and stock, each with its database behind its sidecar."""

    def __init__(self, site: Site, database: MariaDB) -> None:
        super().__init__(site)
        self.database = database
        self.stock_sidecar, self.stock = self._service("stock")
        self.sidecar, self.orders = self._service("orders", STOCK_URL=self.stock_sidecar.url)
        self.sidecars = (self.sidecar, self.stock_sidecar)
        self.programs = (self.operator, *self.sidecars, self.stock, self.orders)

    def _service(self, name: str, **environment: str) -> tuple[SidecarProgram, Program]:
        schema, port = DATABASES[name], free_port()
        source = datasource(schema, schema, self.database.port)
        sidecar = self.site.capturing(name, port, routes(name, SAMPLE), [source], SIDECAR_ACCOUNT)
        words = [SAMPLE / "services" / each for each in ("tracing.py", f"{name}.py")]
        told = reached_by(source) | environment
        return sidecar, service(name, words, port, self.site.folder, **told)

    def wait_for_undo_tables(self) -> None:
        """Wait until both sidecars can take part."""
        for sidecar, schema in ((self.sidecar, "order"), (self.stock_sidecar, "product")):
            part = f"undo table of {schema}"
            wait_for(part, lambda: bool(sidecar.parts().get(part, {}).get("up")), seconds=60)  # noqa: B023  at once

    def order(self, quantity: int = 2, query: str = "", **headers: str) -> tuple[int, str]:
        """Send a client's request; 0 when there was no answer."""
        return self.post(f"/orders{query}", {"quantity": quantity}, headers)

    def rows(self) -> tuple[int, int, int]:
        """Items that were ordered, what is left of the stock, undo records; past the sidecars."""
        undo = " + ".join(
            f"(SELECT COUNT(*) FROM `{schema}`.globaltx_undo WHERE table_name <> '')"
            for schema in DATABASES.values()
        )
        counts = (
            "(SELECT COUNT(*) FROM `order`.so_item)",
            "(SELECT available_qty FROM product.inventory WHERE product_sysno = 1)",
            undo,
        )
        items, left, records = self.database.execute("SELECT " + ", ".join(counts)).split()
        return int(items), int(left), int(records)

    def branches(self) -> dict[str, Any]:
        """The app of each branch that there is."""
        return self._spec("branches", ".spec.app")

    def wait_until_nothing_is_open(self) -> None:
        """Wait until no undo record is left and every transaction has its outcome."""
        wait_for(
            "all to be settled",
            lambda: not self.rows()[2] and all(self.outcomes().values()),
            seconds=120,
            every=0.2,
        )
