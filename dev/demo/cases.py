"""Three orders and how they must end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dev.demo.rows import Change
from dev.errors import ToolError
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.demo.shop import Answer, Shop

ORDERED = Change(so_master=1, so_item=1, available=-2)
NOTHING = Change()
OK = 200
BAD_REQUEST = 400
_LOCAL_COMMIT_SECONDS = 60


@dataclass(frozen=True)
class Ending:
    """How an order ended: the client's answer, the transaction's end, what the databases hold."""

    status: int
    state: str
    change: Change

    def __str__(self) -> str:
        return f"{self.status}, {self.state}, {self.change}"


@dataclass(frozen=True)
class Result:
    """What was done, what should have come of it, and what did."""

    title: str
    expected: Ending
    found: Ending
    transaction: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether it ended as it must."""
        return self.found == self.expected


@dataclass(frozen=True)
class Case:
    """One order."""

    title: str
    act: Callable[[Shop], Answer]
    expected: Ending

    def run(self, shop: Shop) -> Result:
        """Place the order and look at what came of it.

        The rows are read once, when the transaction says that it has ended: from then on they
        must be right.
        """
        shop.quiet()
        known, before, started = set(shop.transactions()), shop.database.rows(), time.monotonic()
        answer = self.act(shop)
        name = shop.new_transaction(known)
        state = shop.settled(name)
        found = Ending(answer.status, state, shop.database.rows().since(before))
        return Result(self.title, self.expected, found, name, time.monotonic() - started)


def _create(shop: Shop) -> Answer:
    return shop.post("/v1/order/create")


def _create_and_fail(shop: Shop) -> Answer:
    return shop.post("/v1/order/create2")


def _create_and_kill(shop: Shop) -> Answer:
    """Kill the order service's pod between its local commit and the outcome."""
    before, pod = shop.database.rows(), shop.pod("order-svc")
    with shop.posting("/v1/order/create?hold=after-commit") as pending:

        def committed_locally() -> bool:
            early = pending.early()
            if early is not None:
                message = f"the order service answered before it was killed: {early}"
                raise ToolError(message)
            return shop.database.rows().since(before).so_item == 1

        wait_for(
            "the order service's local commit", committed_locally, seconds=_LOCAL_COMMIT_SECONDS, every=0.1
        )
        shop.kill(pod)
        return pending.answer()


CASES = (
    Case("POST /v1/order/create", _create, Ending(OK, "Committed", ORDERED)),
    Case("POST /v1/order/create2", _create_and_fail, Ending(BAD_REQUEST, "RolledBack", NOTHING)),
    Case(
        "create, order-svc killed after its commit",
        _create_and_kill,
        Ending(BAD_REQUEST, "RolledBack", NOTHING),
    ),
)
