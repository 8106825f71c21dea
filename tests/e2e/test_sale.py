"""A sale in three modes (AT, TCC, saga), in real pods on a real kubelet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.demo.shop import ENDS
from dev.waiting import wait_for
from tests.e2e.sample import SECONDS, Sample, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

EXAMPLES = Path(__file__).parents[2] / "examples"
OTHERS = (EXAMPLES / "02-tcc-transfer", EXAMPLES / "03-saga-trip")


@pytest.fixture(scope="module")
def sales(place: Place, shop_namespace: str) -> Iterator[Sample]:
    with deployed(place, EXAMPLES / "05-mixed", "sales", others=OTHERS, databases=shop_namespace) as sample:
        yield sample


def sell(sales: Sample, query: str = "", parcels: int = 2) -> tuple[int, str]:
    """Sell something; the status, and how the transaction ended."""
    known = set(sales.transactions())
    status, _ = sales.ask("shop", "POST", f"/sales{query}", {"price": 30, "parcels": parcels})
    wait_for(
        "the sale to be settled",
        lambda: len(new := sales.new(known)) == 1 and {*new.values()} <= set(ENDS),
        seconds=SECONDS,
        every=0.2,
    )
    (state,) = sales.new(known).values()
    return status, state


def books(sales: Sample) -> tuple[int, int, int]:
    """The rows of the shop, what is in the account, what the carrier can still take."""
    rows = sales.ask("shop", "GET", "/sales")[1]["rows"]
    balance = sales.ask("bank", "GET", "/accounts")[1]["balances"]["1"]
    return rows, balance, sales.ask("carrier", "GET", "/bookings")[1]["free"]


def test_a_sale_is_committed_in_three_modes(sales: Sample) -> None:
    rows, balance, free = books(sales)
    assert sell(sales) == (200, "Committed")
    assert books(sales) == (rows + 1, balance - 30, free - 2)
    branches = sales.kubectl.json("-n", sales.namespace, "branches")["items"]
    assert sorted(each["spec"]["mode"] for each in branches) == ["AT", "Saga", "TCC"]


@pytest.mark.parametrize(("query", "parcels"), [("?fail", 2), ("", 10**6)])
def test_what_was_done_before_something_failed_is_undone(sales: Sample, query: str, parcels: int) -> None:
    before = books(sales)
    assert sell(sales, query, parcels) == (409, "RolledBack")
    assert books(sales) == before
