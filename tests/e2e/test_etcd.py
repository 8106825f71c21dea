"""The chart with an etcd of its own, on a real kubelet: orders, a killed etcd, an upgrade, there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev.demo import deploy
from tests.e2e import no_code, sale
from tests.e2e.kept import Kept, kept_in_etcd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.demo.places import Place

POD = "globaltx-etcd-0"


@pytest.fixture(scope="module")
def kept(place: Place, shop_namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with kept_in_etcd(place, shop_namespace, [tmp_path_factory.mktemp("etcd")]) as made:
        yield made


def test_orders_end_as_they_must_and_are_shown(kept: Kept) -> None:
    kept.orders_end_as_they_must()
    said = kept.place.kubectl("-n", kept.shop.namespace, "get", "globaltx", "-l", "globaltx.io/projected")
    assert {line.split()[2] for line in said.splitlines()[1:]} == {"Committed", "RolledBack"}


@pytest.mark.deep
def test_a_sale_in_three_modes_ends_as_it_must(kept: Kept, shop_namespace: str) -> None:
    with sale.sales(kept.place, shop_namespace, kept.store) as sales:
        rows, balance, free = before = sales.books()
        status, _, state = sales.sell("?fail")
        assert (status, state, sales.books()) == (409, "RolledBack", before)
        status, name, state = sales.sell()
        assert (status, state, sales.books()) == (200, "Committed", (rows + 1, balance - 30, free - 2))
        assert sales.sample.branches(name) == sale.COMMITTED
        assert kept.shows_all_of(sales.sample.namespace)


@pytest.mark.deep
def test_an_order_by_its_trace_alone_ends_as_it_must(kept: Kept, shop_namespace: str) -> None:
    with no_code.orders(kept.place, shop_namespace, kept.store) as orders:
        items, left = before = orders.rows()
        status, _, state = orders.order("?fail")
        assert (status, state, orders.rows()) == (409, "RolledBack", before)
        status, name, state = orders.order()
        assert (status, state, orders.rows()) == (200, "Committed", (items + 2, left - 2))
        assert orders.sample.branches(name) == no_code.COMMITTED
        assert kept.shows_all_of(orders.sample.namespace)


def test_a_killed_etcd_comes_back_with_what_it_kept(kept: Kept) -> None:
    known = kept.orders_end_as_they_must()
    kept.kill(POD)
    kept.ready(POD)
    kept.orders_end_as_they_must()
    assert known <= set(kept.shop.transactions()), "what was kept is still shown"


def test_an_upgrade_keeps_data_and_secrets(kept: Kept) -> None:
    known, held, claim = kept.orders_end_as_they_must(), kept.secrets(), kept.uid("pvc", f"data-{POD}")
    pod = kept.uid("pods", POD)
    kept.install("store.etcd.bundled.quotaMebibytes=1024")
    assert kept.uid("pods", POD) != pod
    assert (kept.secrets(), kept.uid("pvc", f"data-{POD}")) == (held, claim)
    kept.orders_end_as_they_must()
    assert known <= set(kept.shop.transactions())


def test_taking_it_away_keeps_what_the_next_one_goes_on_with(kept: Kept) -> None:
    held, claim = kept.secrets(), kept.uid("pvc", f"data-{POD}")
    deploy.install(kept.place.kubectl, kept.place.images)
    assert kept.uid("statefulsets", "globaltx-etcd") is None
    assert (kept.secrets(), kept.uid("pvc", f"data-{POD}")) == (held, claim)
    kept.install()
    kept.orders_end_as_they_must()
