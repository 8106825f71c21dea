"""A trip of flight, hotel and payment as processes on loopback: no pods, but everything else is real."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from globaltx.manifest.settings import HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.bank.stage import CALL_SECONDS, Stage, routes
from tests.sidecar.programs import Program, get

if TYPE_CHECKING:
    from globaltx.coordinator.policy import HttpCapture
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "03-saga-trip"
STOCK = 1000
WANTED = {"seats": 2, "rooms": 1, "price": 30}


class Provider:
    """Somebody who can be booked, their sidecar, and what stands between them."""

    def __init__(self, name: str, site: Site, capture: HttpCapture | None = None) -> None:
        port, between = free_port(), free_port()
        capture = capture or routes("provider", SAMPLE)
        http = HttpSettings(between, capture.routes, free_port(), LOOPBACK, edge=capture.edge)
        settings = SidecarSettings(namespace=site.namespace, app=name, http=http, control_port=free_port())
        self.between = Between(between, port)
        self.sidecar = site.sidecar(settings)
        self.service = Program(
            name=name,
            command=[sys.executable, str(SAMPLE / "services" / "provider.py")],
            ready=f"http://{LOOPBACK}:{port}/healthz",
            log=site.folder / f"{name}.log",
            environment={
                "PORT": str(port),
                "DATABASE": str(site.folder / f"{name}.db"),
                "STOCK": str(STOCK),
            },
        )

    def look(self) -> dict[str, Any]:
        """What is booked."""
        found: dict[str, Any] = json.loads(get(self.service.ready.replace("healthz", "bookings"))[1])
        return found


class Trips(Stage):
    """Three providers and the service that books them; faults happen to the airline, ``a``."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.a, self.hotel, self.payment = self.providers = tuple(
            Provider(name, site) for name in ("flight", "hotel", "payment")
        )
        port, capture = free_port(), routes("trip", SAMPLE)
        http = HttpSettings(port, capture.routes, free_port(), LOOPBACK, edge=capture.edge)
        self.sidecar = site.sidecar(
            SidecarSettings(namespace=site.namespace, app="trip", http=http, control_port=free_port())
        )
        self.service = Program(
            name="trip",
            command=[sys.executable, str(SAMPLE / "services" / "trip.py")],
            ready=f"http://{LOOPBACK}:{port}/healthz",
            log=site.folder / "trip.log",
            environment={
                "PORT": str(port),
                "FLIGHT_URL": self.a.sidecar.url,
                "HOTEL_URL": self.hotel.sidecar.url,
                "PAYMENT_URL": self.payment.sidecar.url,
            },
        )
        self.betweens = tuple(each.between for each in self.providers)
        pairs = [program for each in self.providers for program in (each.sidecar, each.service)]
        self.programs = (self.operator, self.sidecar, self.service, *pairs)

    def book(self, query: str = "", **more: int) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        body = json.dumps(WANTED | more).encode()
        headers = {"Content-Type": "application/json"}
        url = f"{self.sidecar.url}/trips{query}"
        return get(url, method="POST", body=body, seconds=CALL_SECONDS, headers=headers)[0]

    def free(self) -> tuple[int, ...]:
        """What each provider has left."""
        return tuple(int(each.look()["free"]) for each in self.providers)

    def clear(self) -> None:
        """Let everything through again."""
        for between in self.betweens:
            between.clear()
