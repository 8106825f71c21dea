"""A transfer between two banks (TCC), in real pods on a real kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.demo.shop import ENDS
from dev.waiting import wait_for
from tests.e2e.sample import SECONDS, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place
    from tests.e2e.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples" / "02-tcc-transfer"


class Banks:
    """The example, and what is asked of it."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self.ask = sample.ask

    def transfer(self, amount: int, query: str = "") -> tuple[int, str]:
        """Transfer from account 1 to account 2 of the banks; the status, and how it ended."""
        known = set(self._sample.transactions())
        asked = {"debit": "1", "credit": "2", "amount": amount}
        status, _ = self.ask("transfer", "POST", f"/transfer{query}", asked)
        wait_for("the transfer to be settled", lambda: self._ended(known), seconds=SECONDS, every=0.2)
        (state,) = self._sample.new(known).values()
        return status, state

    def balances(self) -> tuple[int, int]:
        a, b = (self.ask(bank, "GET", "/accounts")[1]["balances"] for bank in ("bank-a", "bank-b"))
        return a["1"], b["2"]

    def _ended(self, known: set[str]) -> bool:
        new = [*self._sample.new(known).values()]
        return len(new) == 1 and new[0] in ENDS


@pytest.fixture(scope="module")
def banks(place: Place) -> Iterator[Banks]:
    with deployed(place, FOLDER, "banks") as sample:
        yield Banks(sample)


def test_a_transfer_is_confirmed_by_both_banks(banks: Banks) -> None:
    one, two = banks.balances()
    assert banks.transfer(30) == (200, "Committed")
    assert banks.balances() == (one - 30, two + 30)


def test_a_transfer_that_fails_at_last_is_cancelled_by_both_banks(banks: Banks) -> None:
    before = banks.balances()
    assert banks.transfer(10, "?fail") == (409, "RolledBack")
    assert banks.balances() == before


def test_a_transfer_of_too_much_moves_nothing(banks: Banks) -> None:
    before = banks.balances()
    assert banks.transfer(10**6) == (409, "RolledBack")
    assert banks.balances() == before


def test_an_xid_from_outside_is_not_believed(banks: Banks) -> None:
    """The transfer service is at the edge; the banks are not, and refuse what nobody knows."""
    status, body = banks.ask("bank-a", "POST", "/accounts/1/debit", {"amount": 1})
    assert (status, body["reason"]) == (400, "XidRequired")
