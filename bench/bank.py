"""Two banks and a payment from both, for the load of `tcc` and `saga`: three sidecars, the operator.

The application of `bench/driver` is all three of them. It runs twice: behind the sidecars, and by itself,
where the same requests go from the one to the others directly.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.durable import database
from bench.load import Work, serving
from bench.shop import Control
from dev.waiting import wait_for
from globaltx.coordinator.policy import Propagation, Route, Saga, Tcc
from globaltx.manifest.settings import SidecarSettings
from globaltx.transaction.calls import Order
from globaltx.transaction.model import Mode
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import get, http_settings

if TYPE_CHECKING:
    from bench.processes import Place
    from bench.spending import Spent
    from tests.sidecar.programs import Program, SidecarProgram

ACCOUNTS = 64
_SQL = f"""
CREATE TABLE account (id INT PRIMARY KEY, available BIGINT NOT NULL, reserved BIGINT NOT NULL);
INSERT INTO account SELECT seq, 1000000000, 0 FROM seq_1_to_{ACCOUNTS};
"""
_TIMEOUT = timedelta(seconds=60)
_PAYMENTS = (
    Route("tcc", path="/pay/tcc", mode=Mode.TCC, timeout=_TIMEOUT),
    Route("saga", path="/pay/saga", mode=Mode.SAGA, timeout=_TIMEOUT),
    Route("ordered", path="/pay/ordered", mode=Mode.SAGA, timeout=_TIMEOUT),
)
_BRANCHES = (
    Route("try", path="/tcc/try", propagation=Propagation.MANDATORY, tcc=Tcc("/tcc/confirm", "/tcc/cancel")),
    Route("step", path="/saga/step", propagation=Propagation.MANDATORY, saga=Saga("/saga/compensate")),
)
_BANKS = {"bank-a": (), "bank-b": ("bank-a",)}
"""In the order in which they are asked, each with those that its step says it depends on."""
_SETTLE_SECONDS = 120


class Bank:
    """All of it, running inside the context."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._stack = ExitStack()
        self._control: Control
        self._banks: tuple[SidecarProgram, ...] = ()
        self._front: SidecarProgram
        self.direct = self.paid = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._control = stack.enter_context(Control(folder, self._store))
            place, _ = stack.enter_context(database("bench-bank", _SQL))
            self._start(stack, place)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, stack: ExitStack, place: Place) -> None:
        behind, direct = free_port(), free_port()
        self._banks = tuple(self._sidecar(name, behind, (*_BRANCHES, _ordered(name))) for name in _BANKS)
        self._front = self._sidecar("payment", behind, _PAYMENTS)
        for each in (*self._banks, self._front):
            each.launch()
            stack.callback(each.kill)
        self.direct, self.paid = f"http://{LOOPBACK}:{direct}", self._front.url
        for port, banks in (
            (direct, [self.direct, self.direct]),
            (behind, [each.url for each in self._banks]),
        ):
            flags = (f"-accounts={place.dsn()}", f"-banks={','.join(banks)}")
            stack.enter_context(serving("bank", *flags, port=port))
        for each in (*self._banks, self._front):
            each.wait_ready(60)

    def _sidecar(self, app: str, port: int, routes: tuple[Route, ...]) -> SidecarProgram:
        return self._control.sidecar(SidecarSettings("default", app, http=http_settings(port, routes)))

    def payments(self, path: str, *, paid: bool, clients: int, seconds: float) -> Work:
        """Payments through the sidecars, or straight at the application."""
        url = self.paid if paid else self.direct
        return Work("order", url=f"{url}/{path}", clients=clients, seconds=seconds)

    def settle(self) -> None:
        """Wait until every branch has followed its outcome, so that the next round is alone."""
        wait_for("all to be settled", self._is_settled, seconds=_SETTLE_SECONDS, every=0.1)

    def _is_settled(self) -> bool:
        begun = _sum(self._front, "globaltx_sidecar_transactions_total")
        return 0 < begun <= _sum(self._control.operator, "globaltx_ended_total")

    def spent(self) -> Spent:
        """The CPU time that the sidecars, the operator, and the store's own etcd have taken."""
        return self._control.spent((*self._banks, self._front))


def _ordered(bank: str) -> Route:
    """A step whose place in the order of compensation the policy declares, so that nothing is noted of it."""
    saga = Saga("/saga/compensate", order=Order.DEPENDENCIES, depends_on=_BANKS[bank])
    return Route(bank, path="/saga/ordered", propagation=Propagation.MANDATORY, saga=saga)


def _sum(program: Program, metric: str) -> float:
    """A counter of one of the programs over all of its labels."""
    lines = get(program.ready.replace("/readyz", "/metrics"))[1].splitlines()
    return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(metric))
