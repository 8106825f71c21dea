"""One run: clients and faults for some seconds, then quiet, then the audit."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos import audit
from tests.chaos.bank import Bank
from tests.chaos.clients import Clients, wait
from tests.chaos.faults import Faults
from tests.chaos.teller import Teller

if TYPE_CHECKING:
    from pathlib import Path

    from dev.cluster.cluster import Cluster

HISTORIES_MAX = 3
STEPS_MAX = 8


@dataclass(frozen=True, slots=True)
class Report:
    """What a run has found; it holds when ``wrong`` is empty."""

    seed: int
    summary: str
    committed: int = 0
    happened: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    histories: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = [f"seed {self.seed}: {self.summary}"]
        if self.wrong:
            told += [*self.happened, *(f"WRONG: {each}" for each in self.wrong), *self.histories]
        return "\n".join(told)


def run(
    cluster: Cluster, namespace: str, folder: Path, seed: int, seconds: float, every: float = 3.0
) -> Report:
    """Run one seed; ``every`` so many seconds something breaks, on the average."""
    with Bank(cluster, namespace, folder) as bank:
        with Teller(bank, seed) as teller:
            bank.sidecars["teller-0"].wait_ready()
            before = audit.memory(bank)
            with Clients(bank, seed, clients=8) as clients, Faults(bank, seed, seconds, every) as faults:
                wait(seconds)
            ended = bank.mend()
            found, seconds_to_quiet = audit.quiet(bank)
            _until_well(bank)
            wrong = list(audit.faults_of(bank, clients, teller, found))
        return Report(
            seed,
            _summary(clients, teller, found, len(faults.happened))
            + f", quiet after {seconds_to_quiet:.1f} s, MiB {_grown(before, audit.memory(bank))}",
            sum(each["spec"].get("outcome") == "Commit" for each in found.transactions.values()),
            faults.happened,
            [*(each for each, _ in wrong), *ended, *(f"could not be made: {each}" for each in faults.failed)],
            [audit.history(bank, teller, found, name) for name in _named(wrong)],
        )


def _summary(clients: Clients, teller: Teller, found: audit.Found, faults: int) -> str:
    specs = [each["spec"] for each in found.transactions.values()]
    outcomes = Counter(f"{each.get('outcome')} {each.get('outcomeReason')}" for each in specs)
    steps = Counter(step.split(": ", 1)[1][:60] for told in teller.told.values() for step in told.steps)
    return (
        f"{faults} faults, answers {dict(Counter(clients.answers.values()))}, "
        f"outcomes {dict(outcomes)}, steps {dict(steps.most_common(STEPS_MAX))}"
    )


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, str]:
    return {name: f"{before.get(name, 0) >> 20}->{size >> 20}" for name, size in after.items()}


def _named(wrong: list[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for _, name in wrong if name))[:HISTORIES_MAX]


def _until_well(bank: Bank) -> None:
    """What was told as waiting is told as up again a moment after it is; a part that is not stays so."""
    until = time.monotonic() + 60
    while any(audit.ill(bank)) and time.monotonic() < until:
        time.sleep(0.5)
