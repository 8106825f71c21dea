"""``make demo``: a Kubernetes, globaltx, an order across two databases, three endings, one table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

from dev.demo import deploy, manifests, places, report
from dev.demo.cases import CASES
from dev.demo.shop import Shop
from dev.demo.turns import alone
from dev.errors import ToolError
from dev.folders import state_root
from dev.progress import say, step

if TYPE_CHECKING:
    from dev.demo.cases import Result
    from dev.demo.places import Place

NAMESPACE = manifests.NAMESPACE
STORES = (deploy.KUBERNETES.type, deploy.ETCD)
LOCK = state_root() / "_demo.lock"  # no cluster's name begins like this


def main(arguments: list[str] | None = None) -> int:
    """Run it all; 0 only if everything held."""
    parser = argparse.ArgumentParser(prog="python -m dev.demo", description=__doc__)
    parser.add_argument("--store", choices=STORES, default=STORES[0], help="where transactions are kept")
    store = parser.parse_args(arguments).store
    # A terminated demo cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with alone(LOCK):
        return _demo(store)


def _demo(store: str) -> int:
    started = time.monotonic()
    try:
        place = _place(store)
    except ToolError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        if not _kept() and places.CONTEXT not in os.environ:
            places.abandon()
        return 130
    try:
        code = _run(place)
        say(f"took {time.monotonic() - started:.0f} s in all")
    except KeyboardInterrupt:
        say("interrupted")
        code = 130
    return _leave(place, code)


def _place(store: str) -> Place:
    if context := os.environ.get(places.CONTEXT):
        return places.given(context, NAMESPACE, store=store)
    return places.local(NAMESPACE, store=store)


def _run(place: Place) -> int:
    """Deploy, place the orders, and show what came of them."""
    try:
        if place.installs:
            deploy.install(place.kubectl, place.images, place.store)
        else:
            say("globaltx is installed in this cluster and is used as it is")
        deploy.deploy(place.kubectl, place.images, place.database_manifests, NAMESPACE, place.store)
        results = _orders(Shop(place.kubectl, NAMESPACE, place.database))
        _show(place, results)
    except ToolError as error:
        say(f"\nerror: {error}\n\nwhere to look:\n")
        say(report.where_to_look(place.kubectl, [NAMESPACE, deploy.SYSTEM]))
        if os.environ.get(places.CONTEXT):
            say(places.images_hint(place.images))
        return 1
    wrong = [each for each in results if not each.holds]
    if wrong:
        say("\nwhere to look:\n")
        say(report.where_to_look(place.kubectl, [NAMESPACE, deploy.SYSTEM]))
    return 1 if wrong else 0


def _orders(shop: Shop) -> list[Result]:
    results = []
    for case in CASES:
        with step(case.title):
            results.append(case.run(shop))
    return results


def _show(place: Place, results: list[Result]) -> None:
    undone = next((each.transaction for each in results if each.found.state == "RolledBack"), None)
    if undone:
        print(report.transactions(place.kubectl, NAMESPACE, undone))
    print(report.table(results), flush=True)


def _leave(place: Place, code: int) -> int:
    if _kept():
        say("\nleft running (KEEP=1). To look at it:")
        say(f"  {place.enter}")
        say(f"  kubectl -n {NAMESPACE} get globaltx,gtxb,txpolicy,pods")
        say(f"  .venv/bin/globaltx status -n {NAMESPACE} NAME")
        say(f"To take it away:\n  {place.leave}")
        return code
    try:
        place.clean_up()
    except ToolError as error:
        say(f"error: could not clean up: {error}\nby hand: {place.leave}")
        return code or 1
    except KeyboardInterrupt:
        say(f"interrupted while cleaning up; by hand: {place.leave}")
        return 130
    return code


def _kept() -> bool:
    return os.environ.get("KEEP") == "1"


if __name__ == "__main__":
    sys.exit(main())
