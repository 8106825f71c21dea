"""`growth`: what one more order costs when there are many already, and what everybody's memory is then.

The store in etcd keeps what has ended for three minutes: so much is there, and so much has been there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.figures import Figure
from bench.load import send
from bench.rows.coordination import begin
from bench.shop import Shop
from bench.spending import cpu_figures
from dev.progress import step
from globaltx.transaction.model import BranchId, Mode

if TYPE_CHECKING:
    from bench.load import Report
    from bench.options import Options
    from bench.spending import Spent
    from globaltx.stores.base import Store

CLIENTS = 8
_FILLING_CLIENTS = 32
_STRETCH = 25
"""So many orders of each client are measured at each number of transactions."""
_PORTION = 50
FILL_SECONDS = 900.0
"""How long it goes on filling: on a slow machine there are fewer, and the figure's name says how many."""
_OPEN_AT_A_TIME = 32
OPERATOR_MIB_MAX = 180.0


def measure(options: Options) -> list[Figure]:
    """Orders until there are so many, then measured stretches; at last with many that are still undecided."""
    figures: list[Figure] = []
    done = 0
    with Shop(options.store) as shop:
        _send(shop, _STRETCH)  # warm
        for wanted in options.growth:
            with step(f"growth: {wanted} transactions") as running:
                while done < wanted and running.seconds < FILL_SECONDS:
                    left = -(-(wanted - done) // _FILLING_CLIENTS)
                    done += _send(shop, min(_PORTION, left), _FILLING_CLIENTS).done
                    running.tell(f"{done} are there")
                figures += _stretches(shop, f"at {done}", options.rounds)
                done += options.rounds * _STRETCH * CLIENTS
        with step(f"growth: {options.open_branches} undecided branches"):
            asyncio.run(_open(shop, options.open_branches))
            figures += _stretches(shop, f"with {options.open_branches} branches open", options.rounds)
    return figures


def _send(shop: Shop, count: int, clients: int = CLIENTS) -> Report:
    report = send(shop.orders(hinted=True, clients=clients, count=count))
    shop.settle()
    return report


def _stretches(shop: Shop, when: str, rounds: int) -> list[Figure]:
    rates, spent = zip(*(_stretch(shop) for _ in range(rounds)), strict=True)
    return [
        Figure(f"{when}: orders", "/s", rates, more_is_better=True),
        *cpu_figures(when, spent),
        Figure(f"{when}: memory of the sidecar of order", "MiB", (shop.resident_mib(shop.order),)),
        Figure(
            f"{when}: memory of the operator",
            "MiB",
            (shop.resident_mib(shop.operator),),
            OPERATOR_MIB_MAX,
        ),
    ]


def _stretch(shop: Shop) -> tuple[float, Spent]:
    before = shop.spent()
    report = _send(shop, _STRETCH)
    return report.per_second, shop.spent().each(before, report.done)


async def _open(shop: Shop, count: int) -> None:
    """Begin transactions with one branch each, which nobody decides."""
    left = iter(range(count))

    async def some(store: Store) -> None:
        for _ in left:
            xid = await begin(store)
            await store.join(BranchId(xid, "elsewhere", "orders"), Mode.AT)

    async with shop.measured.store() as store:
        await asyncio.gather(*(some(store) for _ in range(_OPEN_AT_A_TIME)))
