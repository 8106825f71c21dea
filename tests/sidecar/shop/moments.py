"""Ten moments of a request at which something can be killed, each held still until it was.

Nothing here waits for a guessed time: a moment is made by a frozen process (SIGSTOP) or by a lock
in the database, and it has come when the store or the database shows it.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pymysql

from dev.cluster import processes
from dev.waiting import wait_for
from tests.sidecar.ledgers import Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sidecar.programs import Program
    from tests.sidecar.shop.stage import Shop

MOMENT_SECONDS = 30.0
LOCK_ORDER = "LOCK TABLES `order`.globaltx_undo WRITE"
LOCK_PRODUCT = "LOCK TABLES product.globaltx_undo WRITE"
LOCK_BOTH = "LOCK TABLES `order`.globaltx_undo WRITE, product.globaltx_undo WRITE"
LOCK_INVENTORY = "SELECT * FROM product.inventory WHERE sysno = 1 FOR UPDATE"
_ENDS = {"Committed", "RolledBack"}


class Holds:
    """What holds a request still, and what shows how far it has come."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self._before = set(shop.stands())
        self._masters, self._allocated = self._counts()
        self._held = ExitStack()

    def release(self) -> None:
        """Let everything go on; what was killed meanwhile is held by nothing."""
        self._held.close()

    def freeze(self, *programs: Program) -> None:
        """Stop programs in their tracks."""
        for program in programs:
            if program.process is not None and program.process.poll() is None:
                processes.freeze(program.process.pid)
            self._held.callback(_thaw, program)

    def thaw(self, *programs: Program) -> None:
        """Let frozen programs go on before the others."""
        for program in programs:
            _thaw(program)

    def lock(self, statement: str) -> Callable[[], None]:
        """Hold a lock in the database; call what is returned to let it go before the others."""
        connection = pymysql.connect(unix_socket=str(self.shop.database.socket), user="root")
        self._held.callback(_close, connection)
        with connection.cursor() as cursor:
            cursor.execute(statement)
        return lambda: _close(connection)

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something shows."""
        wait_for(what, holds, seconds=MOMENT_SECONDS, every=0.02)

    def begun(self) -> bool:
        """Whether there is a transaction."""
        return bool(self._new())

    def outcome(self) -> str:
        """Its outcome; empty while undecided."""
        return self._stand().outcome

    def order_committed(self) -> bool:
        """Whether the order service's local commit is durable."""
        return self._counts()[0] > self._masters

    def product_committed(self) -> bool:
        """Whether the product service's local commit is durable."""
        return self._counts()[1] > self._allocated

    def waits(self, schema: str) -> bool:
        """Whether a statement of the application waits in the database."""
        query = (
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'dksl' "
            f"AND DB = '{schema}' AND INFO IS NOT NULL AND TIME_MS > 50"
        )
        return self.shop.database.execute(query).strip() != "0"

    def stamped(self) -> bool:
        """Whether both branches were told the outcome."""
        return sum(bool(each.outcome) for each in self._stand().branches) == 2

    def settled(self, count: int) -> bool:
        """Whether so many branches have reported their end."""
        return sum(each.state in _ENDS for each in self._stand().branches) >= count

    def _stand(self) -> Stand:
        return next(iter(self._new().values()), Stand())

    def _counts(self) -> tuple[int, int]:
        query = "SELECT (SELECT COUNT(*) FROM `order`.so_master), SUM(allocated_qty) FROM product.inventory"
        masters, allocated = self.shop.database.execute(query).split()
        return int(masters), int(allocated)

    def _new(self) -> dict[str, Stand]:
        return {name: each for name, each in self.shop.stands().items() if name not in self._before}


def _thaw(program: Program) -> None:
    if program.process is not None and program.process.poll() is None:  # it may have been killed
        processes.thaw(program.process.pid)


def _close(connection: pymysql.Connection) -> None:
    with suppress(pymysql.Error):  # closed before, or its server was killed
        connection.close()


# Each moment prepares its holds, yields for the request to be sent, and returns when it has come.


def begun(holds: Holds) -> Iterator[None]:
    """The transaction has begun; nothing was written."""
    holds.freeze(holds.shop.order)
    yield
    holds.until("the transaction", holds.begun)


def order_commits(holds: Holds) -> Iterator[None]:
    """The order service's rows are written, its local commit waits in the database."""
    holds.lock(LOCK_ORDER)
    yield
    holds.until("the order's commit to wait", lambda: holds.waits("order"))


def order_committed(holds: Holds) -> Iterator[None]:
    """The order service has committed; the product service was not asked yet."""
    holds.freeze(holds.shop.product)
    yield
    holds.until("the order's commit", holds.order_committed)


def product_updates(holds: Holds) -> Iterator[None]:
    """The product service's UPDATE waits for a row that somebody else has locked."""
    holds.lock(LOCK_INVENTORY)
    yield
    holds.until("the product's update to wait", lambda: holds.waits("product"))


def product_commits(holds: Holds) -> Iterator[None]:
    """The order service has committed, the product service's local commit waits in the database."""
    holds.lock(LOCK_PRODUCT)
    yield
    holds.until("the product's commit to wait", lambda: holds.waits("product"))


def both_committed(holds: Holds) -> Iterator[None]:
    """Both have committed; the outcome was not taken."""
    unlock = holds.lock(LOCK_PRODUCT)
    yield
    holds.until("the product's commit to wait", lambda: holds.waits("product"))
    holds.freeze(holds.shop.aggregation)
    unlock()
    holds.until("the product's commit", holds.product_committed)


def decided(holds: Holds) -> Iterator[None]:
    """The outcome was taken, and with Kubernetes no branch was told; in etcd both hear at once."""
    holds.freeze(*holds.shop.operators)
    yield
    holds.until("the outcome", lambda: bool(holds.outcome()))


def told(holds: Holds, *locks: str) -> Iterator[None]:
    """Both branches were told; what is locked in the database waits in phase two."""
    yield from both_committed(holds)
    for lock in locks:
        holds.lock(lock)
    holds.thaw(holds.shop.aggregation)
    holds.until("the branches to be told", holds.stamped)


def stamped(holds: Holds) -> Iterator[None]:
    """Both branches were told; phase two waits in the database."""
    yield from told(holds, LOCK_BOTH)


def one_settled(holds: Holds) -> Iterator[None]:
    """One branch is at its end; the other's phase two waits in the database."""
    yield from told(holds, LOCK_ORDER)
    holds.until("one branch's end", lambda: holds.settled(1))


def both_settled(holds: Holds) -> Iterator[None]:
    """Both branches are at their end; nobody has seen that they are."""
    yield from both_committed(holds)
    unlock = holds.lock(LOCK_BOTH)
    holds.thaw(holds.shop.aggregation)
    holds.until("the branches to be told", holds.stamped)
    holds.freeze(*holds.shop.operators)
    unlock()
    holds.until("both branches' end", lambda: holds.settled(2))


MOMENTS: dict[str, Callable[[Holds], Iterator[None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        begun,
        order_commits,
        order_committed,
        product_updates,
        product_commits,
        both_committed,
        decided,
        stamped,
        one_settled,
        both_settled,
    )
}
