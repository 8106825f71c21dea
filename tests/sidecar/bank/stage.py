"""Two banks and a transfer service as processes on loopback: no pods, but everything else is real."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import yaml

from dev.waiting import wait_for
from globaltx.manifest.policy import read_policy
from globaltx.manifest.settings import DatasourceSettings
from tests.ports import LOOPBACK, free_port
from tests.sidecar.bank.between import Between
from tests.sidecar.programs import BIN, get, reached_by, service
from tests.sidecar.shop.stage import SIDECAR_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dev.databases import MariaDB
    from globaltx.coordinator.policy import HttpCapture, Policy, Route, Tcd
    from globaltx.transaction.calls import Reservation
    from tests.sidecar.ledgers import Stand
    from tests.sidecar.programs import Program, SidecarProgram
    from tests.sidecar.site import Site

SAMPLE = Path(__file__).parents[3] / "examples" / "02-tcc-transfer"
Json = dict[str, Any]
CALL_SECONDS = 60.0
MOMENT_SECONDS = 120.0
TIMEOUT = timedelta(seconds=15)
KEEP = timedelta(minutes=10)
REFUSALS = 4
"""Fewer than the example's, because a test waits them out."""
_ENDS = {"Committed", "RolledBack"}


def policy(name: str, sample: Path = SAMPLE) -> Policy:
    """A policy of an example."""
    manifests = yaml.safe_load_all((sample / "manifests" / "policy.yaml").read_text())
    return next(read_policy(each) for each in manifests if each["metadata"]["name"] == name)


def routes(name: str, sample: Path = SAMPLE) -> HttpCapture:
    """What a policy of an example captures."""
    capture = policy(name, sample).http
    assert capture is not None
    return replace(capture, routes=tuple(map(_hasty, capture.routes)))


def _hasty(route: Route) -> Route:
    tcc = None if route.tcc is None else replace(route.tcc, refusals_max=REFUSALS)
    saga = None if route.saga is None else replace(route.saga, refusals_max=REFUSALS)
    tcd = (
        None
        if route.tcd is None
        else replace(route.tcd, refusals_max=REFUSALS, reservation=_lasting(route.tcd))
    )
    return replace(route, timeout=TIMEOUT, tcc=tcc, saga=saga, tcd=tcd)


def _lasting(tcd: Tcd) -> Reservation:
    """Reservations that no slow machine outlasts: what runs out, a test lets run out."""
    return replace(tcd.reservation, duration=KEEP)


class Account(NamedTuple):
    """What is in an account, and what is neither confirmed nor cancelled."""

    balance: int
    reserved: int


class Bank:
    """A bank, its sidecar, and what stands between them; its policies are those of an example."""

    def __init__(self, name: str, site: Site, database: MariaDB, sample: Path = SAMPLE) -> None:
        port = free_port()
        self.between = Between(free_port(), port)
        self._database = database
        (self._source,) = policy(name, sample).datasources
        source = DatasourceSettings(
            replace(self._source, host=LOOPBACK, port=database.port), LOOPBACK, free_port()
        )
        self.sidecar = site.capturing(
            name, self.between.port, routes("bank", sample), [source], SIDECAR_ACCOUNT
        )
        program = SAMPLE / "services" / "bank.py"
        self.service = service(name, [program], port, site.folder, **reached_by(source))

    def wait_for_tables(self) -> None:
        """Wait until the sidecar has made its own."""
        part = f"undo table of {self._source.name}"
        wait_for(part, lambda: bool(self.sidecar.parts().get(part, {}).get("up")), seconds=60)

    def look(self) -> Account:
        """Look at the first account, past the sidecar."""
        query = "SELECT balance, outgoing + incoming FROM account WHERE id = '1'"
        return Account(*map(int, self._database.execute(query, schema=self._source.schema).split()))


class Stage:
    """A sample, running, with its operator."""

    sidecar: SidecarProgram
    """To which clients send their requests."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.cluster = site.cluster
        self.namespace = site.namespace
        self._stack = ExitStack()
        self.betweens: tuple[Between, ...] = ()
        """What stands between the participants and their sidecars."""
        self.programs: tuple[Program, ...] = ()
        """All of them."""
        self.operator = site.operator()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for between in self.betweens:
                stack.enter_context(between)
            for program in self.programs:
                program.launch()
                stack.callback(program.kill)
            for program in self.programs:
                program.wait_ready(60)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Let everything through again."""
        for between in self.betweens:
            between.clear()

    def post(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Send a client's request; 0 when there was no answer."""
        given = {"Content-Type": "application/json", **(headers or {})}
        url, content = f"{self.sidecar.url}{path}", json.dumps(body).encode()
        return get(url, method="POST", body=content, seconds=CALL_SECONDS, headers=given)

    def apply(self, manifest: Json, *flags: str) -> str:
        """Apply it, and give its name."""
        self.cluster.kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump(manifest))
        return str(manifest["metadata"]["name"])

    def read(self, name: str) -> Json:
        """The transaction, as it is shown."""
        found: Json = json.loads(
            self.cluster.kubectl("get", "globaltx", name, "-n", self.namespace, "-o", "json")
        )
        return found

    def says(self, *words: str) -> str:
        """What the command line says."""
        done = subprocess.run(
            [str(BIN / "globaltx"), *words],
            env={**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stdout + done.stderr

    def outcomes(self) -> dict[str, str]:
        """The transactions that there are, each with its outcome or an empty text."""
        return {name: each.outcome for name, each in self.site.ledger.stands().items()}

    def settled(self, before: set[str], seconds: float = 240) -> str:
        """Wait until the one new transaction and its branches have ended, and give its outcome."""
        return self.reached(before, _ENDS, seconds).outcome

    def reached(self, before: set[str], states: set[str], seconds: float = 240) -> Stand:
        """Wait until the one new transaction and its branches are in such states, and give it."""

        def there() -> list[Stand]:
            new = [each for name, each in self.site.ledger.stands().items() if name not in before]
            return new if len(new) == 1 and new[0].within(states) else []

        (found,) = wait_for(f"the transaction to be in {states}", there, seconds=seconds, every=0.1)
        return found

    def rolled_back(self, undecided: set[str]) -> bool:
        """Whether the youngest of these transactions has the outcome Rollback."""
        return self.outcomes()[max(undecided)] == "Rollback"

    def wait_for_branch(self, state: str) -> None:
        """Wait until some branch stands so."""
        wait_for(
            f"a branch in {state}",
            lambda: any(
                part.state == state for each in self.site.ledger.stands().values() for part in each.branches
            ),
            seconds=MOMENT_SECONDS,
            every=0.1,
        )

    def _spec(self, kind: str, field: str) -> dict[str, str]:
        path = f"jsonpath={{range .items[*]}}{{.metadata.name}}={{{field}}}{{'\\n'}}{{end}}"
        said = self.cluster.kubectl("get", kind, "-n", self.namespace, "-o", path)
        return dict(line.split("=", 1) for line in said.splitlines() if line)


class Banks(Stage):
    """Two banks and a transfer service."""

    def __init__(self, site: Site, database: MariaDB, request_id_header: str = "") -> None:
        super().__init__(site)
        self.a, self.b = (Bank(name, site, database) for name in ("bank-a", "bank-b"))
        port, capture = free_port(), routes("transfer")
        told = tuple(replace(each, request_id_header=request_id_header) for each in capture.routes)
        self.sidecar = site.capturing("transfer", port, replace(capture, routes=told))
        urls = {"FROM_URL": self.a.sidecar.url, "TO_URL": self.b.sidecar.url}
        self.service = service("transfer", [SAMPLE / "services" / "transfer.py"], port, site.folder, **urls)
        self.betweens = (self.a.between, self.b.between)
        banks = (self.a.sidecar, self.a.service, self.b.sidecar, self.b.service)
        self.programs = (self.operator, self.sidecar, self.service, *banks)

    def __enter__(self) -> Self:
        super().__enter__()
        for each in (self.a, self.b):
            each.wait_for_tables()
        return self

    def transfer(self, amount: int = 30, query: str = "", **headers: str) -> int:
        """Send a client's request and give the status; 0 when there was no answer."""
        asked = {"debit": "1", "credit": "1", "amount": amount}
        return self.post(f"/transfer{query}", asked, headers)[0]

    def balances(self) -> tuple[int, int]:
        """What the two accounts hold."""
        return self.a.look().balance, self.b.look().balance

    def reserved(self) -> int:
        """How much was neither confirmed nor cancelled."""
        return self.a.look().reserved + self.b.look().reserved
