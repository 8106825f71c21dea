"""`order` and `hot`: the order sample's transaction, begun by HTTP, beside the same without globaltx.

Two INSERTs in one local transaction and an UPDATE in another database. Each client has a product of
its own; `hot` has 16 clients on 4 of them. (With an index on product_sysno: without it the database
itself locks every row of the inventory for each order.)
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.figures import Figure, ratio, slowdown
from bench.load import send
from bench.shop import Shop
from bench.spending import cpu_figures
from dev.progress import step

if TYPE_CHECKING:
    from bench.load import Report
    from bench.options import Options
    from bench.spending import Spent

CLIENTS = (1, 8, 16, 32)
PER_SECOND_MIN = {"kubernetes": {8: 40.0}}
LEFT_MIN = {"etcd": {8: 0.35, 16: 0.35}}
SLOWER_MAX = {"etcd": {1: 4.0}}
MEMORY_MIB_MAX = 80.0
WRITES_MAX = 9.0
QUIET_SECONDS = 3.0
"""After so long the operator has written the ends of all."""
HOT_CLIENTS, HOT_ROWS = 16, 4


def measure(options: Options) -> list[Figure]:
    """Commit at each number of clients; rollback, and prepared statements, at eight."""
    figures: list[Figure] = []
    with Shop(options.store) as shop:
        for clients in CLIENTS:
            figures += _beside(shop, options, "create", clients, "commit")
        figures += _beside(shop, options, "create2", 8, "rollback")
        figures += [
            Figure(
                "memory of the sidecar in front of order",
                "MiB",
                (shop.resident_mib(shop.order),),
                MEMORY_MIB_MAX,
            ),
            Figure(
                "memory of the sidecar with HTTP", "MiB", (shop.resident_mib(shop.front),), MEMORY_MIB_MAX
            ),
            Figure("memory of the operator", "MiB", (shop.resident_mib(shop.operator),)),
        ]
    with Shop(options.store, prepared=True) as shop:
        figures += _beside(shop, options, "create", 8, "commit, prepared")
    return figures


def kubernetes(options: Options) -> list[Figure]:
    """Commit at eight clients over the Kubernetes store, and what each costs the API server."""
    options = replace(options, store="kubernetes")
    with Shop(options.store) as shop:
        figures = _beside(shop, options, "create", 8, "commit")
        writes = [_writes(shop, options) for _ in range(min(options.rounds, 3))]
    return [*figures, Figure("writes to the API server each", "", tuple(writes), WRITES_MAX)]


def _writes(shop: Shop, options: Options) -> float:
    """All of them, also those that come after the answer."""
    before = shop.measured.writes()
    report = send(shop.orders(hinted=True, clients=8, seconds=options.seconds))
    shop.settle()
    time.sleep(QUIET_SECONDS)  # the operator writes the end
    return (shop.measured.writes() - before) / report.done


def _beside(shop: Shop, options: Options, path: str, clients: int, title: str) -> list[Figure]:
    direct: list[Report] = []
    ours: list[Report] = []
    spent: list[Spent] = []
    asked: dict[str, Any] = {"path": path, "clients": clients, "seconds": options.seconds}
    with step(f"order: {title}, {clients} clients"):
        _warm(shop, asked)
        for _ in range(options.rounds):
            direct.append(send(shop.orders(hinted=False, **asked)))
            before = shop.spent()
            ours.append(send(shop.orders(hinted=True, **asked)))
            shop.settle()
            spent.append(shop.spent().each(before, ours[-1].done))
    name = f"{title}, {clients} {'client' if clients == 1 else 'clients'}"
    store, commits = options.store, title == "commit"
    least = PER_SECOND_MIN.get(store, {}).get(clients) if commits else None
    left = LEFT_MIN.get(store, {}).get(clients) if commits else None
    most = SLOWER_MAX.get(store, {}).get(clients) if commits else None
    failed = sum(each.failed for each in ours)
    return [
        Figure(f"{name}: direct", "/s", tuple(each.per_second for each in direct), more_is_better=True),
        Figure(
            f"{name}: with globaltx",
            "/s",
            tuple(each.per_second for each in ours),
            least,
            note=f"{failed} failed" if failed else "",
            more_is_better=True,
        ),
        ratio(f"{name}: of direct", _rates(ours), _rates(direct), least=left),
        Figure(f"{name}: p50", "ms", tuple(each.p50_ms for each in ours)),
        Figure(f"{name}: p95", "ms", tuple(each.p95_ms for each in ours)),
        Figure(f"{name}: p99", "ms", tuple(each.p99_ms for each in ours)),
        slowdown(
            f"{name}: p50 of direct",
            [each.p50_ms for each in ours],
            [each.p50_ms for each in direct],
            most=most,
        ),
        *cpu_figures(name, spent),
    ]


def _warm(shop: Shop, asked: dict[str, Any]) -> None:
    """The first statement reads shapes and loads what a sidecar at rest has no use for."""
    for hinted in (False, True):
        send(shop.orders(hinted=hinted, **(asked | {"seconds": 1.0})))
    shop.settle()


def _rates(reports: list[Report]) -> list[float]:
    return [each.per_second for each in reports]


def hot(options: Options) -> list[Figure]:
    """Sixteen clients on four rows: throughput, what failed, and how even it was."""
    direct: list[Report] = []
    ours: list[Report] = []
    with Shop(options.store) as shop, step("hot"):
        asked: dict[str, Any] = {
            "clients": HOT_CLIENTS,
            "seconds": options.seconds,
            "rows": HOT_ROWS,
            "hot": True,
        }
        _warm(shop, asked)
        for _ in range(options.rounds):
            direct.append(send(shop.orders(hinted=False, **asked)))
            ours.append(send(shop.orders(hinted=True, **asked)))
            shop.settle()
    reasons = {words for each in ours for words in each.failures}
    return [
        Figure("direct", "/s", tuple(_rates(direct)), more_is_better=True),
        Figure("with globaltx", "/s", tuple(_rates(ours)), more_is_better=True),
        ratio("of direct", _rates(ours), _rates(direct)),
        Figure(
            "failed",
            "%",
            tuple(100 * each.failed / (each.failed + each.done) for each in ours),
            note="; ".join(sorted(reasons))[:120],
        ),
        Figure(
            "fewest of a client against the most",
            "x",
            tuple(each.fewest_of_a_client / max(1, each.most_of_a_client) for each in ours),
            more_is_better=True,
        ),
    ]
