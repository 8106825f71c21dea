"""The sale of three modes (AT, TCC, saga) in pods, and what is asked of it."""

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

EXAMPLES = Path(__file__).parents[2] / "examples"
OTHERS = (EXAMPLES / "02-tcc-transfer", EXAMPLES / "03-saga-trip")
COMMITTED = {
    "shop": ("AT", "Committed"),
    "bank": ("TCC", "Committed"),
    "carrier": ("Saga", "Committed"),
}


class Sales:
    """Shop, bank and carrier."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def sell(self, query: str = "", parcels: int = 2) -> tuple[int, str, str]:
        """Sell something for 30; the status, the transaction, and how it ended."""
        known = set(self.sample.transactions())
        status, _ = self.sample.ask("shop", "POST", f"/sales{query}", {"price": 30, "parcels": parcels})
        return status, *self.sample.end(known)

    def books(self) -> tuple[int, int, int]:
        """The rows of the shop, what is in the account, what the carrier can still take."""
        rows = self.sample.ask("shop", "GET", "/sales")[1]["rows"]
        balance = self.sample.ask("bank", "GET", "/accounts")[1]["balances"]["1"]
        return rows, balance, self.sample.ask("carrier", "GET", "/bookings")[1]["free"]


@contextmanager
def sales(place: Place, databases: str, store: Store = KUBERNETES) -> Iterator[Sales]:
    """Run it; ``databases`` is the order sample's namespace."""
    folder = EXAMPLES / "05-mixed"
    with deployed(place, folder, "sales", others=OTHERS, databases=databases, store=store) as sample:
        yield Sales(sample)
