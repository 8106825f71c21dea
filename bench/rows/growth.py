"""`growth`: what one more order costs when there are many already, and what everybody's memory is then.

The store keeps settled transactions for their TTL, so that all of them are still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.load import send
from bench.shop import Shop
from dev.progress import step

if TYPE_CHECKING:
    from bench.options import Options

CLIENTS = 8


def measure(options: Options) -> list[Figure]:
    """Orders until there are so many; the rate of the last stretch, and the memory."""
    figures: list[Figure] = []
    done = 0
    with Shop(options.store) as shop:
        for wanted in options.growth:
            with step(f"growth: {wanted} transactions"):
                report = send(shop.orders(hinted=True, clients=CLIENTS, count=-(-(wanted - done) // CLIENTS)))
                done += report.done
                shop.settle()
            figures += [
                Figure(f"at {wanted}: orders", "/s", (report.per_second,), more_is_better=True),
                Figure(
                    f"at {wanted}: memory of the sidecar of order", "MiB", (shop.resident_mib(shop.order),)
                ),
                Figure(f"at {wanted}: memory of the operator", "MiB", (shop.resident_mib(shop.operator),)),
            ]
    return figures
