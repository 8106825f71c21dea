"""An order in two databases without a line about transactions, in real pods on a real kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import no_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place
    from tests.e2e.no_code import Orders


@pytest.fixture(scope="module")
def orders(place: Place, shop_namespace: str) -> Iterator[Orders]:
    with no_code.orders(place, shop_namespace) as running:
        yield running


def test_an_order_is_committed_in_both_databases_by_its_trace_alone(orders: Orders) -> None:
    items, left = orders.rows()
    status, name, state = orders.order()
    assert (status, state) == (200, "Committed")
    assert orders.rows() == (items + 2, left - 2)
    assert orders.sample.branches(name) == no_code.COMMITTED


@pytest.mark.parametrize(("query", "quantity"), [("?fail", 2), ("", 10**6)])
def test_an_order_that_fails_is_undone_in_both(orders: Orders, query: str, quantity: int) -> None:
    before = orders.rows()
    status, _, state = orders.order(query, quantity)
    assert (status, state) == (409, "RolledBack")
    assert orders.rows() == before
