from __future__ import annotations

import os
import secrets
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.stores import Kubernetes
from dev.waiting import wait_for
from tests.sidecar.programs import get
from tests.sidecar.shop.stage import NOTHING, ORDERED, SQL, Shop
from tests.sidecar.site import EACH_STORE, IN_ETCD, IN_KUBERNETES, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster.cluster import Cluster

pytestmark = [pytest.mark.control_plane, pytest.mark.database, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
WRITES = 12
"""Of a smooth order to the API server, besides Events."""
ORDERS = 30


@pytest.fixture(scope="module", params=EACH_STORE)
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


@pytest.mark.parametrize("shop", [IN_KUBERNETES], indirect=True)
@pytest.mark.parametrize(("path", "events"), [("create", 0), ("create2", 1)])
def test_an_order_costs_the_api_server_what_the_page_says(shop: Shop, path: str, events: int) -> None:
    """What takes longer than two seconds has more Events, and more writes: then the next one counts."""
    counted = Kubernetes(shop.cluster)
    for _ in range(ORDERS):
        released(shop)
        known, before = set(shop.stands()), counted.writes()
        shop.ask(f"/v1/order/{path}")
        shop.settle()
        released(shop)
        (name,) = set(shop.stands()) - known
        if shop.events(name) == events:
            break
    else:
        pytest.fail(f"of {ORDERS} orders none ended within two seconds")
    wait_for("all to be counted", lambda: counted.writes() - before >= WRITES + events, seconds=20)
    assert counted.writes() - before == WRITES + events
    assert f"costs the Kubernetes store {WRITES} writes" in PAGE.read_text()


def released(shop: Shop) -> None:
    """Wait until nothing holds any transaction or branch, which is the last that is written of them."""
    path = "jsonpath={.items[*].metadata.finalizers}"
    kinds = "globaltransactions,branches"
    wait_for(
        "all to be released",
        lambda: not shop.cluster.kubectl("get", kinds, "-n", shop.namespace, "-o", path).strip(),
        every=0.1,
    )


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
