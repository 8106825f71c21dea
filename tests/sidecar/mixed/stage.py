"""The example of three modes in one transaction, as processes on loopback: the database is a real one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dev.waiting import wait_for
from tests.ports import free_port
from tests.sidecar.bank.stage import Bank, Stage, routes
from tests.sidecar.programs import datasource, reached_by, service
from tests.sidecar.shop.stage import SIDECAR_ACCOUNT
from tests.sidecar.trip.stage import Provider

if TYPE_CHECKING:
    from dev.databases import MariaDB
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "05-mixed"


class Books(NamedTuple):
    """What each of the three holds."""

    rows: int
    balance: int
    free: int
    undo_records: int
    reserved: int


class Mixed(Stage):
    """Shop, bank and carrier."""

    def __init__(self, site: Site, database: MariaDB) -> None:
        super().__init__(site)
        self.database = database
        self.bank = Bank("bank", site, database, SAMPLE)
        self.carrier = Provider("carrier", site, routes("carrier", SAMPLE))
        port, source = free_port(), datasource("order", "order", database.port)
        self.sidecar = site.capturing("shop", port, routes("shop", SAMPLE), [source], SIDECAR_ACCOUNT)
        told = {"BANK_URL": self.bank.sidecar.url, "CARRIER_URL": self.carrier.sidecar.url}
        told |= reached_by(source)
        self.service = service("shop", [SAMPLE / "services" / "shop.py"], port, site.folder, **told)
        self.betweens = (self.bank.between, self.carrier.between)
        self.sidecars = {"shop": self.sidecar, "bank": self.bank.sidecar, "carrier": self.carrier.sidecar}
        services = (self.service, self.bank.service, self.carrier.service)
        self.programs = (self.operator, *self.sidecars.values(), *services)

    def wait_for_tables(self) -> None:
        """Wait until the sidecars of shop and bank can take part."""
        self.bank.wait_for_tables()
        part = "undo table of order"
        wait_for(part, lambda: bool(self.sidecar.parts().get(part, {}).get("up")), seconds=60)

    def sell(self, query: str = "", price: int = 30, parcels: int = 2) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        return self.post(f"/sales{query}", {"price": price, "parcels": parcels})[0]

    def books(self) -> Books:
        """Look at all of them, past the sidecars."""
        counts = (
            "(SELECT COUNT(*) FROM so_item)",
            "(SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> '')",
        )
        rows, undo = self.database.execute("SELECT " + ", ".join(counts), schema="order").split()
        bank, carrier = self.bank.look(), self.carrier.look()
        return Books(int(rows), bank.balance, int(carrier["free"]), int(undo), bank.reserved)

    def modes(self) -> dict[str, Any]:
        """The mode of each branch that there is."""
        return self._spec("branches", ".spec.mode")
