"""`tcc`, `saga`, `saga, declared`: a payment from two banks, beside the same requests without globaltx.

The floor is the same business work called directly: the application asks both banks, and each changes its
account at once, in a local transaction of its own. With TCC a bank does twice as much (try and confirm),
of which the confirm comes after the answer; all of it is in the rate, since the machine is one.
Both accounts in one local transaction of one database, which is no work of two services any more, are shown
as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.bank import Bank
from bench.figures import Figure, ratio, slowdown
from bench.load import send
from bench.spending import cpu_figures
from dev.progress import step

if TYPE_CHECKING:
    from bench.load import Report
    from bench.options import Options
    from bench.spending import Spent

CLIENTS = (1, 8, 16)
LEFT_MIN = {"etcd": {("saga", 16): 0.26, ("ordered", 16): 0.26, ("tcc", 16): 0.12}}
"""Twice what dtm leaves of its floor."""


def tcc(options: Options) -> list[Figure]:
    """Payments of which both banks are told to confirm."""
    return _measure(options, "tcc")


def saga(options: Options) -> list[Figure]:
    """Payments of two steps that stand, which would be compensated in the reverse order of completion."""
    return _measure(options, "saga")


def declared(options: Options) -> list[Figure]:
    """The same where the policy declares that order, as peers have it: nobody has to find it out."""
    return _measure(options, "ordered")


def _measure(options: Options, mode: str) -> list[Figure]:
    figures: list[Figure] = []
    with Bank(options.store) as bank:
        for clients in CLIENTS:
            with step(f"{mode}: {clients} clients"):
                figures += _beside(bank, options, mode, clients)
    return figures


def _beside(bank: Bank, options: Options, mode: str, clients: int) -> list[Figure]:
    direct: list[Report] = []
    local: list[Report] = []
    ours: list[Report] = []
    spent: list[Spent] = []
    for seconds in (min(1.0, options.seconds), *[options.seconds] * options.rounds):  # the first one warms
        direct.append(send(bank.payments("pay/plain", paid=False, clients=clients, seconds=seconds)))
        local.append(send(bank.payments("local", paid=False, clients=clients, seconds=seconds)))
        before = bank.spent()
        ours.append(send(bank.payments(f"pay/{mode}", paid=True, clients=clients, seconds=seconds)))
        bank.settle()
        spent.append(bank.spent().each(before, ours[-1].done))
    return _figures(options, mode, clients, (direct[1:], local[1:], ours[1:]), spent[1:])


def _figures(
    options: Options, mode: str, clients: int, seen: tuple[list[Report], ...], spent: list[Spent]
) -> list[Figure]:
    direct, _, ours = seen
    rates = [[each.per_second for each in reports] for reports in seen]
    name = f"{clients} {'client' if clients == 1 else 'clients'}"
    least = LEFT_MIN.get(options.store, {}).get((mode, clients))
    failed = sum(each.failed for each in ours)
    note = f"{failed} failed" if failed else ""
    return [
        Figure(f"{name}: direct", "/s", tuple(rates[0]), more_is_better=True),
        Figure(f"{name}: in one local transaction", "/s", tuple(rates[1]), more_is_better=True),
        Figure(f"{name}: with globaltx", "/s", tuple(rates[2]), note=note, more_is_better=True),
        ratio(f"{name}: of direct", rates[2], rates[0], least=least),
        ratio(f"{name}: of one local transaction", rates[2], rates[1]),
        Figure(f"{name}: p50", "ms", tuple(each.p50_ms for each in ours)),
        Figure(f"{name}: p99", "ms", tuple(each.p99_ms for each in ours)),
        slowdown(f"{name}: p50 of direct", [each.p50_ms for each in ours], [each.p50_ms for each in direct]),
        *cpu_figures(name, spent),
    ]
