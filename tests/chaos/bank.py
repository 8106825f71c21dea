"""Three banks in two databases behind sidecars of their own: real processes without pods.

A control plane, two replicas of the operator, two MariaDB servers, two sidecars for the bank of
the east, one for each of the others, and one in front of the teller, who serves the clients.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Self

from dev.databases import MariaDB
from dev.waiting import wait_for
from globaltx.coordinator.policy import Route
from globaltx.manifest.settings import SidecarSettings
from tests.chaos.plans import ACCOUNTS, BANKS, START
from tests.ports import LOOPBACK, free_port
from tests.sidecar.programs import (
    BIN,
    Account,
    Program,
    SidecarProgram,
    datasource,
    http_settings,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dev.cluster.cluster import Cluster

SERVER_OF = {"east": "one", "west": "two", "ledger": "two"}
REPLICAS = {"east": 2, "west": 1, "ledger": 1}
TIMEOUT = timedelta(seconds=10)
SWEEP_SECONDS = 5.0
APP = Account("teller", "for-tests-only")
OWN = Account("globaltx", "for-tests-only")
PATH = "/v1/transfer"


def schema_sql(bank: str) -> str:
    """Write a bank's tables and what they begin with."""
    rows = ",".join(f"({number},{START})" for number in range(ACCOUNTS))
    return f"""
        CREATE DATABASE {bank};
        CREATE TABLE {bank}.account (id INT PRIMARY KEY, balance BIGINT NOT NULL, CHECK (balance >= 0));
        CREATE TABLE {bank}.entry (
            request INT NOT NULL, leg VARCHAR(10) NOT NULL, part INT NOT NULL,
            account INT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (request, leg, part));
        CREATE TABLE {bank}.orders (
            id BIGINT AUTO_INCREMENT PRIMARY KEY, request INT NOT NULL, leg VARCHAR(10) NOT NULL,
            state VARCHAR(20) NOT NULL, note TEXT);
        CREATE TABLE {bank}.plain (id INT PRIMARY KEY, count BIGINT NOT NULL);
        INSERT INTO {bank}.account VALUES {rows};
        INSERT INTO {bank}.plain VALUES (1, 0);
    """


ACCOUNTS_SQL = "".join(
    f"CREATE USER {who.user}@'%' IDENTIFIED BY '{who.password}'; GRANT ALL ON *.* TO {who.user}@'%';"
    for who in (APP, OWN)
)


class Bank:
    """Everything that runs; enter it to have it up."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._folder = folder
        self._stack = ExitStack()
        self.teller_port = free_port()
        self.databases: dict[str, MariaDB] = {}
        self.sidecars: dict[str, SidecarProgram] = {}
        self.operators: dict[str, Program] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for name in sorted(set(SERVER_OF.values())):
                banks = "".join(schema_sql(bank) for bank in BANKS if SERVER_OF[bank] == name)
                database = MariaDB.up(folder=self._folder / f"database-{name}", sql=ACCOUNTS_SQL + banks)
                self.databases[name] = stack.enter_context(database)
            for bank in BANKS:
                for number in range(REPLICAS[bank]):
                    self.sidecars[f"{bank}-{number}"] = self._bank_sidecar(bank, f"{bank}-{number}")
            self.sidecars["teller-0"] = self._teller_sidecar()
            self.operators = {name: self._operator(name) for name in ("operator-0", "operator-1")}
            for program in self.programs.values():
                program.launch()
                stack.callback(program.kill)
            for name, program in self.programs.items():
                if name != "teller-0":
                    program.wait_ready(60)
            self._wait_for_undo_tables()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def programs(self) -> dict[str, Program]:
        """All of ours by name."""
        return {**self.operators, **self.sidecars}

    def mend(self) -> list[str]:
        """Start what has ended by itself; tell what, and what it said last."""
        ended = [name for name, database in self.databases.items() if database.process is None]
        told = [f"{name} ended by itself:\n{self.databases[name].log.read_text()[-6000:]}" for name in ended]
        for name in ended:
            self.databases[name].start()
        return told

    def database_of(self, bank: str) -> MariaDB:
        """The server of a bank."""
        return self.databases[SERVER_OF[bank]]

    def port_of(self, sidecar: str) -> int:
        """Where a bank's sidecar listens for its application."""
        return self.sidecars[sidecar].settings.datasources[0].listen_port

    @property
    def url(self) -> str:
        """Where the clients go."""
        return self.sidecars["teller-0"].url + PATH

    def _bank_sidecar(self, bank: str, pod: str) -> SidecarProgram:
        source = datasource(bank, bank, self.database_of(bank).port)
        settings = SidecarSettings(
            namespace=self.namespace,
            app=f"bank-{bank}",
            datasources=(source,),
            lock_wait=timedelta(seconds=1),
            control_port=free_port(),
        )
        return self._sidecar(settings, pod)

    def _teller_sidecar(self) -> SidecarProgram:
        settings = SidecarSettings(
            namespace=self.namespace,
            app="teller",
            http=http_settings(self.teller_port, (Route("transfer", path=PATH, timeout=TIMEOUT),)),
            control_port=free_port(),
        )
        return self._sidecar(settings, "teller-0")

    def _sidecar(self, settings: SidecarSettings, pod: str) -> SidecarProgram:
        program = SidecarProgram(settings, self._folder, self.cluster.kubeconfig, OWN, pod=pod)
        program.command = [*program.command, "--sweep-seconds", str(SWEEP_SECONDS)]
        return program

    def _operator(self, name: str) -> Program:
        port = free_port()
        arguments = ["--namespace", self.namespace, "--namespaces", self.namespace]
        return Program(
            name=name,
            command=[
                str(BIN / "globaltx-operator"),
                *arguments,
                "--host",
                LOOPBACK,
                "--port",
                str(port),
            ],
            ready=f"http://{LOOPBACK}:{port}/readyz",
            log=self._folder / f"{name}.log",
            environment={"KUBECONFIG": str(self.cluster.kubeconfig), "POD_NAME": name},
        )

    def _wait_for_undo_tables(self) -> None:
        for name, sidecar in self.sidecars.items():
            part = f"undo table of {name.rpartition('-')[0]}"
            if sidecar.settings.datasources:
                wait_for(part, partial(_is_up, sidecar, part), seconds=30)


def _is_up(sidecar: SidecarProgram, part: str) -> bool:
    return bool(sidecar.parts().get(part, {}).get("up"))
