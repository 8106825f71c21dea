"""The order without a line about transactions in pods, and what is asked of it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dev.demo.deploy import KUBERNETES
from tests.e2e.sample import deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.deploy import Store
    from dev.demo.places import Place
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples" / "06-no-code"
COMMITTED = {"orders": ("AT", "Committed"), "stock": ("AT", "Committed")}


class Orders:
    """Orders and stock, which know their traces and nothing else."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def order(self, query: str = "", quantity: int = 2) -> tuple[int, str, str]:
        """Order something; the status, the transaction, and how it ended."""
        known = set(self.sample.transactions())
        status, _ = self.sample.ask("orders", "POST", f"/orders{query}", {"quantity": quantity})
        return status, *self.sample.end(known)

    def rows(self) -> tuple[int, int]:
        """How many items were ordered, and what is left of the stock."""
        items = self.sample.ask("orders", "GET", "/orders")[1]["items"]
        return items, self.sample.ask("stock", "GET", "/stock")[1]["left"]


@contextmanager
def orders(place: Place, databases: str, store: Store = KUBERNETES) -> Iterator[Orders]:
    """Run it, with OpenTelemetry from its own image; ``databases`` is the order sample's namespace."""
    with deployed(place, FOLDER, "traced", databases=databases, store=store, own_image=True) as sample:
        yield Orders(sample)
