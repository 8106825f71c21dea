"""One cell of the kill matrix: a request, a moment, a victim, and what became of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from dev.errors import ToolError
from tests.sidecar.shop.moments import MOMENTS, Holds
from tests.sidecar.shop.stage import NOTHING, ORDERED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.sidecar.shop.stage import Rows, Shop

REQUESTS = {"create": "/v1/order/create", "create2": "/v1/order/create2"}
VICTIMS = ("operator", "order-sidecar", "product-sidecar", "mariadb", "aggregation-sidecar")
SETTLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What is killed when; no two are equal, so that pytest groups by stores and not by cells."""

    request: str
    moment: str
    victim: str

    def __str__(self) -> str:
        return f"{self.request}-{self.moment}-{self.victim}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found afterwards; ``answer`` is the client's status, 0 for none."""

    cell: Cell
    answer: int
    outcome: str
    rows: Rows
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether both databases agree with the outcome, and no failure was told as a success."""
        expected = ORDERED if self.outcome == "Commit" else NOTHING
        told_right = self.outcome == "Commit" or self.answer != 200
        return self.outcome in {"Commit", "Rollback"} and self.rows == expected and told_right


def every_cell() -> list[Cell]:
    """The whole matrix."""
    return [Cell(request, moment, victim) for moment in MOMENTS for request in REQUESTS for victim in VICTIMS]


def diagonal() -> list[Cell]:
    """Each moment of each request once, each victim at four of them."""
    victims: Iterator[str] = cycle(VICTIMS)
    return [Cell(request, moment, next(victims)) for request in REQUESTS for moment in MOMENTS]


def quick() -> list[Cell]:
    """Each moment once and each victim twice, of requests that go well and that fail in turn."""
    cells, count = diagonal(), len(MOMENTS)
    return [cells[number + count * (number % 2)] for number in range(count)]


def run(shop: Shop, cell: Cell) -> Finding:
    """Send the request, kill the victim at the moment, start it again, and wait until all is settled."""
    shop.warm_up()
    began, before = time.monotonic(), shop.rows()
    holds = Holds(shop)
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(shop.ask(REQUESTS[cell.request])[0]))
    try:
        moment = MOMENTS[cell.moment](holds)
        next(moment)
        asking.start()
        next(moment, None)
        restart = kill(shop, cell.victim)
        holds.release()
        restart()
        asking.join()
        shop.settle(SETTLE_SECONDS)
    except ToolError as error:
        error.add_note(shop.situation())
        raise
    finally:
        holds.release()
    rows = shop.rows() - before
    return Finding(cell, answers[0], holds.outcome(), rows, time.monotonic() - began)


def kill(shop: Shop, victim: str) -> Callable[[], object]:
    """Kill -9; return how to start it again."""
    if victim == "mariadb":
        shop.database.crash()
        return shop.database.start
    if victim == "operator":
        program = shop.leading_operator()
    else:
        program = {
            "order-sidecar": shop.order_sidecar,
            "product-sidecar": shop.product_sidecar,
            "aggregation-sidecar": shop.aggregation_sidecar,
        }[victim]
    program.kill()
    return program.start
