"""A sale in three modes (AT, TCC, saga), in real pods on a real kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import sale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place
    from tests.e2e.sale import Sales


@pytest.fixture(scope="module")
def sales(place: Place, shop_namespace: str) -> Iterator[Sales]:
    with sale.sales(place, shop_namespace) as running:
        yield running


def test_a_sale_is_committed_in_three_modes(sales: Sales) -> None:
    rows, balance, free = sales.books()
    status, name, state = sales.sell()
    assert (status, state) == (200, "Committed")
    assert sales.books() == (rows + 1, balance - 30, free - 2)
    assert sales.sample.branches(name) == sale.COMMITTED


@pytest.mark.parametrize(("query", "parcels"), [("?fail", 2), ("", 10**6)])
def test_what_was_done_before_something_failed_is_undone(sales: Sales, query: str, parcels: int) -> None:
    before = sales.books()
    status, _, state = sales.sell(query, parcels)
    assert (status, state) == (409, "RolledBack")
    assert sales.books() == before
