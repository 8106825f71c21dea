"""A trip of flight, hotel and payment as processes on loopback: no pods, but everything else is real."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.sidecar.bank.stage import Stage, routes
from tests.sidecar.programs import service
from tests.sidecar.saga.stage import PROVIDERS, SAMPLE
from tests.sidecar.saga.stage import Provider as Bookable

if TYPE_CHECKING:
    from globaltx.coordinator.policy import HttpCapture
    from tests.sidecar.site import Site

WANTED = {"seats": 2, "rooms": 1, "price": 30}


class Provider(Bookable):
    """Somebody who can be booked, their sidecar, and what stands between them."""

    def __init__(self, name: str, site: Site, capture: HttpCapture | None = None) -> None:
        super().__init__(name, site.folder)
        self.sidecar = site.capturing(name, self.between.port, capture or routes("provider", SAMPLE))


class Trips(Stage):
    """Three providers and the service that books them; faults happen to the airline, ``a``."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.a, self.hotel, self.payment = self.providers = tuple(Provider(name, site) for name in PROVIDERS)
        port = free_port()
        self.sidecar = site.capturing("trip", port, routes("trip", SAMPLE))
        urls = {f"{each.service.name.upper()}_URL": each.sidecar.url for each in self.providers}
        self.service = service("trip", [SAMPLE / "services" / "trip.py"], port, site.folder, **urls)
        self.betweens = tuple(each.between for each in self.providers)
        pairs = [program for each in self.providers for program in (each.sidecar, each.service)]
        self.programs = (self.operator, self.sidecar, self.service, *pairs)

    def book(self, query: str = "", **more: int) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        return self.post(f"/trips{query}", WANTED | more)[0]

    def free(self) -> tuple[int, ...]:
        """What each provider has left."""
        return tuple(int(each.look()["free"]) for each in self.providers)
