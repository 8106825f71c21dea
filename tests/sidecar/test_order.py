from __future__ import annotations

import os
import secrets
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from dev.waiting import wait_for
from tests.sidecar.programs import get
from tests.sidecar.shop.stage import NOTHING, ORDERED, SQL, Shop
from tests.sidecar.site import IN_ETCD, IN_KUBERNETES, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.cluster.cluster import Cluster

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=[IN_KUBERNETES, pytest.param(IN_ETCD, marks=pytest.mark.etcd)])
def shop(
    request: pytest.FixtureRequest, control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The sample with its transactions in either store."""
    from dev.databases import MariaDB  # noqa: PLC0415  only where such tests are run
    from dev.etcd import Etcd  # noqa: PLC0415

    name = f"shop-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", name)
    folder: Path = tmp_path_factory.mktemp("shop")
    with (
        Etcd.up(folder=folder / "etcd", durable=False) if request.param == IN_ETCD else nullcontext() as etcd,
        MariaDB.up(f"{name}-{os.getpid()}", sql=SQL, durable=False) as database,
        Shop(Site(control_plane, name, folder, etcd), database) as running,
    ):
        yield running


def test_an_order_across_two_databases_commits(shop: Shop) -> None:
    before = shop.rows()
    status, said = shop.ask()
    assert status == 200, said
    shop.settle()
    assert shop.rows() - before == ORDERED


def test_an_order_that_fails_at_last_is_undone_in_both(shop: Shop) -> None:
    before = shop.rows()
    assert shop.ask("/v1/order/create2")[0] == 400
    shop.settle()
    assert shop.rows() - before == NOTHING


def test_many_orders_side_by_side_keep_the_books_right(shop: Shop) -> None:
    before = shop.rows()
    answers: list[tuple[int, str]] = []

    def orders(number: int) -> None:
        path = "/v1/order/create" if number % 2 else "/v1/order/create2"
        answers.extend(shop.ask(path) for _ in range(5))

    clients = [threading.Thread(target=orders, args=(number,)) for number in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    shop.settle()
    change, good = shop.rows() - before, sum(status == 200 for status, _ in answers)
    assert (change.masters, change.items, change.available, change.allocated) == (
        good,
        good,
        -2 * good,
        2 * good,
    )
    assert good >= 1, answers
    assert {status for status, _ in answers} <= {200, 400}, answers


def test_a_store_that_dies_in_the_middle_leaves_nothing_half_done(shop: Shop) -> None:
    before = shop.rows()
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(shop.ask("/v1/order/create?hold=after-commit")))
    asking.start()
    try:
        wait_for("the order's local commit", lambda: (shop.rows() - before).masters == 1)
        shop.crash_store()
        get(shop.order.ready.replace("healthz", "release"), method="POST", body=b"")
        asking.join(60)
    finally:
        shop.start_store()
    status, said = answers[0]
    assert status in {400, 503}, said
    shop.settle(120)
    assert shop.rows() - before == NOTHING
