"""The transfer between two banks (TCC) in pods, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples" / "02-tcc-transfer"


class Banks:
    """The example, and what is asked of it."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.ask = sample.ask

    def transfer(self, amount: int, query: str = "") -> tuple[int, str, str]:
        """Transfer from account 1 to 2 of the banks; the status, the transaction, and how it ended."""
        known = set(self.sample.transactions())
        asked = {"debit": "1", "credit": "2", "amount": amount}
        status, _ = self.ask("transfer", "POST", f"/transfer{query}", asked)
        return status, *self.sample.end(known)

    def balances(self) -> tuple[int, int]:
        """What is in account 1 of the one bank, and in account 2 of the other."""
        a, b = (self.ask(bank, "GET", "/accounts")[1]["balances"] for bank in ("bank-a", "bank-b"))
        return a["1"], b["2"]
