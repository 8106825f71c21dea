"""The transfer between two banks (TCC) in pods, and what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples" / "02-tcc-transfer"


class Banks:
    """The example, and what is asked of it."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.ask = sample.ask
        self.said: Any = None
        """What the last transfer was answered."""

    def transfer(self, amount: int, query: str = "") -> tuple[int, str, str]:
        """Transfer from account 1 to 2 of the banks; the status, the transaction, and how it ended."""
        known = set(self.sample.transactions())
        asked = {"debit": "1", "credit": "2", "amount": amount}
        status, self.said = self.ask("transfer", "POST", f"/transfer{query}", asked)
        return status, *self.sample.end(known)

    def balances(self) -> tuple[int, int]:
        """What is in account 1 of the one bank, and in account 2 of the other; nothing is reserved."""
        a, b = (self.ask(bank, "GET", "/accounts")[1] for bank in ("bank-a", "bank-b"))
        assert a["reserved"] == b["reserved"] == 0
        return a["balances"]["1"], b["balances"]["2"]

    def branch(self, transaction: str) -> str:
        """The name of the first bank's branch of a transaction."""
        items = self.sample.kubectl.json("-n", self.sample.namespace, "branches")["items"]
        (found,) = (
            each["metadata"]["name"]
            for each in items
            if each["spec"]["transaction"] == transaction and each["spec"]["app"] == "bank-a"
        )
        return str(found)

    def deliver(self, operation: str, transaction: str, branch: str) -> tuple[int, str]:
        """Make a call of a branch at the first bank's program itself, as a network would that delivers late.

        Nothing but the guard row knows about it; the status, and what the bank says.
        """
        path = "/accounts/1/debit" + ("" if operation == "try" else f"/{operation}")
        guard = {"globaltx-guard": f"{self.sample.namespace}.{transaction}/{branch}/{operation}"}
        status, said = self.sample.post("deployment/bank-a", path, {"amount": 30}, guard)
        return status, said.get("message", "")

    def reserve(self, transaction: str) -> tuple[int, str]:
        """Send the first bank a try of a transaction, as its sidecar takes it; the status, and the reason."""
        xid = {"globaltx-xid": f"{self.sample.namespace}.{transaction}"}
        status, said = self.sample.post("service/bank-a", "/accounts/1/debit", {"amount": 30}, xid)
        return status, said.get("reason", "")
