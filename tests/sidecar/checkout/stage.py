"""A checkout of reservations that run out, as processes on loopback: no pods, but everything else is real."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from globaltx.manifest.settings import HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import CALL_SECONDS, KEEP, Stage, routes
from tests.sidecar.programs import Program, get

if TYPE_CHECKING:
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "04-tcd-checkout"
STOCK = 10**6


class Participant:
    """Somebody who reserves, their sidecar, and what stands between them."""

    def __init__(self, name: str, site: Site) -> None:
        port, between = free_port(), free_port()
        capture = routes(name, SAMPLE)
        http = HttpSettings(between, capture.routes, free_port(), LOOPBACK, edge=capture.edge)
        settings = SidecarSettings(namespace=site.namespace, app=name, http=http, control_port=free_port())
        self.between = Between(between, port)
        self.sidecar = site.sidecar(settings)
        self._database = site.folder / f"{name}.db"
        self.service = Program(
            name=name,
            command=[sys.executable, str(SAMPLE / "services" / "participant.py")],
            ready=f"http://{LOOPBACK}:{port}/healthz",
            log=site.folder / f"{name}.log",
            environment={
                "PORT": str(port),
                "DATABASE": str(self._database),
                "KEEP_SECONDS": str(KEEP.total_seconds()),
                "STOCK": str(STOCK),
            },
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
        port, capture = free_port(), routes("checkout", SAMPLE)
        http = HttpSettings(port, capture.routes, free_port(), LOOPBACK, edge=capture.edge)
        self.sidecar = site.sidecar(
            SidecarSettings(namespace=site.namespace, app="checkout", http=http, control_port=free_port())
        )
        self.service = Program(
            name="checkout",
            command=[sys.executable, str(SAMPLE / "services" / "checkout.py")],
            ready=f"http://{LOOPBACK}:{port}/healthz",
            log=site.folder / "checkout.log",
            environment={
                "PORT": str(port),
                "ACCOUNT_URL": self.a.sidecar.url,
                "PRODUCT_URL": self.product.sidecar.url,
            },
        )
        self.betweens = (self.a.between, self.product.between)
        pairs = (self.a.sidecar, self.a.service, self.product.sidecar, self.product.service)
        self.programs = (self.operator, self.sidecar, self.service, *pairs)

    def buy(self) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        headers = {"Content-Type": "application/json"}
        url, body = f"{self.sidecar.url}/checkout", json.dumps({"amount": 1}).encode()
        return get(url, method="POST", body=body, seconds=CALL_SECONDS, headers=headers)[0]

    def confirmed(self) -> tuple[int, int]:
        """How many reservations of each participant were confirmed."""
        return self.a.confirmed(), self.product.confirmed()

    def clear(self) -> None:
        """Let everything through again."""
        for between in self.betweens:
            between.clear()
