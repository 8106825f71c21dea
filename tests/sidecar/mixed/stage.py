"""The example of three modes in one transaction, as processes on loopback: the database is a real one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dev.waiting import wait_for
from globaltx.manifest.settings import HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.stage import CALL_SECONDS, Bank, Stage, routes
from tests.sidecar.programs import Program, datasource, get
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
        self.bank = Bank("bank", site, routes("bank", SAMPLE))
        self.carrier = Provider("carrier", site, routes("carrier", SAMPLE))
        port, capture = free_port(), routes("shop", SAMPLE)
        source = datasource("order", "order", database.port)
        settings = SidecarSettings(
            namespace=site.namespace,
            app="shop",
            http=HttpSettings(port, capture.routes, free_port(), LOOPBACK, edge=capture.edge),
            datasources=(source,),
            control_port=free_port(),
        )
        self.sidecar = site.sidecar(settings, SIDECAR_ACCOUNT)
        self.service = Program(
            name="shop",
            command=[sys.executable, str(SAMPLE / "services" / "shop.py")],
            ready=f"http://{LOOPBACK}:{port}/healthz",
            log=site.folder / "shop.log",
            environment={
                "PORT": str(port),
                "BANK_URL": self.bank.sidecar.url,
                "CARRIER_URL": self.carrier.sidecar.url,
                "DATABASE_HOST": LOOPBACK,
                "DATABASE_PORT": str(source.listen_port),
                "DATABASE_NAME": "order",
                "DATABASE_USER": "dksl",
                "DATABASE_PASSWORD": "123456",
            },
        )
        self.betweens = (self.bank.between, self.carrier.between)
        self.sidecars = {"shop": self.sidecar, "bank": self.bank.sidecar, "carrier": self.carrier.sidecar}
        services = (self.service, self.bank.service, self.carrier.service)
        self.programs = (self.operator, *self.sidecars.values(), *services)

    def wait_for_undo_table(self) -> None:
        """Wait until the shop's sidecar can take part."""
        part = "undo table of order"
        wait_for(part, lambda: bool(self.sidecar.parts().get(part, {}).get("up")), seconds=60)

    def sell(self, query: str = "", price: int = 30, parcels: int = 2) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        body = json.dumps({"price": price, "parcels": parcels}).encode()
        headers = {"Content-Type": "application/json"}
        url = f"{self.sidecar.url}/sales{query}"
        return get(url, method="POST", body=body, seconds=CALL_SECONDS, headers=headers)[0]

    def books(self) -> Books:
        """Look at all of them, past the sidecars."""
        counts = (
            "(SELECT COUNT(*) FROM so_item)",
            "(SELECT COUNT(*) FROM globaltx_undo WHERE table_name <> '')",
        )
        rows, undo = self.database.execute("SELECT " + ", ".join(counts), schema="order").split()
        bank, carrier = self.bank.look(), self.carrier.look()
        reserved = int(bank["reservations"].get("tried", 0))
        return Books(int(rows), int(bank["balances"]["1"]), int(carrier["free"]), int(undo), reserved)

    def modes(self) -> dict[str, Any]:
        """The mode of each branch that there is."""
        return self._spec("branches", ".spec.mode")
