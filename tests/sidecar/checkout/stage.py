"""A checkout of reservations that run out, as processes on loopback: no pods, but everything else is real."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import KEEP, Stage, routes
from tests.sidecar.programs import service

if TYPE_CHECKING:
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "04-tcd-checkout"
STOCK = 10**6


class Participant:
    """Somebody who reserves, their sidecar, and what stands between them."""

    def __init__(self, name: str, site: Site) -> None:
        port = free_port()
        self.between = Between(free_port(), port)
        self.sidecar = site.capturing(name, self.between.port, routes(name, SAMPLE))
        self._database = site.folder / f"{name}.db"
        self.service = service(
            name,
            [SAMPLE / "services" / "participant.py"],
            port,
            site.folder,
            DATABASE=str(self._database),
            KEEP_SECONDS=str(KEEP.total_seconds()),
            STOCK=str(STOCK),
        )

    def confirmed(self) -> int:
        """How many reservations were confirmed."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection:
            counted = connection.execute("SELECT COUNT(*) FROM reservation WHERE confirmed").fetchone()
        return int(counted[0])

    def let_run_out(self) -> None:
        """Make the time of all reservations be over that are not confirmed."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
            connection.execute("UPDATE reservation SET until = 0 WHERE NOT confirmed")


class Checkouts(Stage):
    """An account, a product, and the checkout; faults happen to the account, ``a``."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.a, self.product = Participant("account", site), Participant("product", site)
        port = free_port()
        self.sidecar = site.capturing("checkout", port, routes("checkout", SAMPLE))
        urls = {"ACCOUNT_URL": self.a.sidecar.url, "PRODUCT_URL": self.product.sidecar.url}
        self.service = service("checkout", [SAMPLE / "services" / "checkout.py"], port, site.folder, **urls)
        self.betweens = (self.a.between, self.product.between)
        pairs = (self.a.sidecar, self.a.service, self.product.sidecar, self.product.service)
        self.programs = (self.operator, self.sidecar, self.service, *pairs)

    def buy(self) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        return self.post("/checkout", {"amount": 1})[0]

    def confirmed(self) -> tuple[int, int]:
        """How many reservations of each participant were confirmed."""
        return self.a.confirmed(), self.product.confirmed()
