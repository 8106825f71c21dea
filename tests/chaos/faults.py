"""What breaks when, drawn from a seed; and everything is whole again at the end."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pymysql

from dev.cluster import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.bank import Bank

STORE = ("kube-apiserver", "etcd")
LONGEST = 18.0
"""Longer than a lease lasts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """At so many seconds, this is done to that, and mended so many seconds later."""

    at: float
    what: str
    target: str
    lasts: float

    def __str__(self) -> str:
        return f"{self.at:5.1f} s {self.what} {self.target} for {self.lasts:.1f} s"


def draw(seed: int, seconds: float, targets: dict[str, str], every: float) -> list[Fault]:
    """Draw the faults of a run; ``targets`` tells of each what it is."""
    chance = random.Random(f"faults/{seed}")  # noqa: S311  to be repeated
    found, at = [], chance.uniform(0.5, 1 + every)
    while at < seconds:
        target = chance.choice(sorted(targets))
        what = chance.choice(("kill", "pause", "cut") if targets[target] == "database" else ("kill", "pause"))
        most = chance.choice((0.3, 2.0, 6.0)) if targets[target] == "store" else chance.choice((0.3, 3.0))
        lasts = chance.uniform(0.05, most)
        if what == "pause" and targets[target] in {"sidecar", "operator"} and chance.random() < 0.1:
            lasts = min(LONGEST, seconds)
        found.append(Fault(at, what, target, 0.0 if what == "cut" else lasts))
        at += chance.expovariate(1 / every)
    return found


class Faults:
    """Makes the faults happen in the background; leaving it mends everything first."""

    def __init__(self, bank: Bank, seed: int, seconds: float, every: float) -> None:
        self.bank = bank
        self.planned = draw(seed, seconds, targets(bank), every)
        self.happened: list[str] = []
        self.failed: list[str] = []
        self._began = 0.0
        self._locks = {_lock_of(name): threading.Lock() for name in targets(bank)}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._happen, args=(fault,)) for fault in self.planned]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _happen(self, fault: Fault) -> None:
        if self._over.wait(max(0.0, self._began + fault.at - time.monotonic())):
            return
        with self._locks[_lock_of(fault.target)]:
            if self._over.is_set():
                return
            self.happened.append(f"{time.monotonic() - self._began:5.1f} s: {fault}")
            try:
                mend = self._break(fault)
                self._over.wait(fault.lasts)
                mend()
            except Exception as error:  # noqa: BLE001  told at the end; a fault that fails must not end the run
                self.failed.append(f"{fault}: {error!r}")

    def _break(self, fault: Fault) -> Callable[[], object]:
        if fault.what == "cut":
            _cut(self.bank, fault.target)
            return lambda: None
        if fault.what == "pause":
            return _pause(_pid(self.bank, fault.target))
        return _kill(self.bank, fault.target)


def targets(bank: Bank) -> dict[str, str]:
    """What can break, and what it is."""
    return (
        dict.fromkeys(bank.sidecars, "sidecar")
        | dict.fromkeys(bank.operators, "operator")
        | dict.fromkeys(bank.databases, "database")
        | dict.fromkeys(STORE, "store")
    )


def _lock_of(target: str) -> str:
    """The API server starts only when etcd runs: only one of them breaks at a time."""
    return "store" if target in STORE else target


def _pid(bank: Bank, target: str) -> int:
    if target in STORE:
        found = bank.cluster.process(target)
        return found.pid if found else 0
    if target in bank.databases:
        running = bank.databases[target].process
        return running.pid if running else 0
    process = bank.programs[target].process
    return process.pid if process else 0


def _pause(pid: int) -> Callable[[], object]:
    processes.freeze(pid)
    return lambda: processes.thaw(pid)


def _kill(bank: Bank, target: str) -> Callable[[], object]:
    if target in STORE:
        bank.cluster.crash(target)
        return lambda: bank.cluster.start(target)
    if target in bank.databases:
        bank.databases[target].crash()
        return bank.databases[target].start
    bank.programs[target].kill()
    return bank.programs[target].start


def _cut(bank: Bank, target: str) -> None:
    """End all connections of the database, as a failover does, whatever they are in the middle of."""
    with (
        pymysql.connect(unix_socket=str(bank.databases[target].socket), user="root") as root,
        root.cursor() as cursor,
    ):
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user IN ('teller', 'globaltx')")
        for (number,) in cursor.fetchall():
            with suppress(pymysql.Error):
                cursor.execute(f"KILL CONNECTION {number}")
