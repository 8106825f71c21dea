"""One member of an etcd, made to be broken and started again."""

from __future__ import annotations

import json
import shutil
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from dev.cluster import processes
from dev.errors import ToolError
from dev.shell import tail
from dev.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from dev.etcd.members import Etcd

USER = "root"
READY_SECONDS = 60
_ASK_SECONDS = 5

Json = dict[str, Any]


class Ports(NamedTuple):
    """The ports of a member: for gRPC, for HTTP, and for the other members.

    Where it has one for gRPC and HTTP, and TLS, etcd takes the calls through a server that can do both, which
    costs it a quarter more.
    """

    client: int
    web: int
    peer: int


class Member:
    """One member; it can be ended, frozen, started again, and asked."""

    def __init__(self, etcd: Etcd, name: str, ports: Ports) -> None:
        self._etcd = etcd
        self.name = name
        self.ports = ports

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"{self._etcd.scheme}://127.0.0.1:{self.ports.client}"

    @property
    def web(self) -> str:
        """Where its gateway, its metrics and its probes are."""
        return f"{self._etcd.scheme}://127.0.0.1:{self.ports.web}"

    @property
    def process(self) -> processes.Process | None:
        """The running member, or None."""
        return next((each for each in self._etcd.processes() if f"--name={self.name}" in each.argv), None)

    def crash(self) -> None:
        """End it as a crash does (SIGKILL); it stays down until `start`."""
        if (running := self.process) is not None:
            processes.kill([running])

    def freeze(self) -> None:
        """Stop it where it is: its connections stay open, and nothing answers."""
        if (running := self.process) is not None:
            processes.freeze(running.pid)

    def thaw(self) -> None:
        """Let it go on."""
        if (running := self.process) is not None:
            processes.thaw(running.pid)

    def lose(self) -> None:
        """End it as a crash does, and lose its data."""
        self.crash()
        shutil.rmtree(self._etcd.folder / self.name, ignore_errors=True)

    def start(self, *, wait: bool = True, joins: bool = False) -> None:
        """Start it, and wait until it takes part; ``joins``: the others have been told that it is new."""
        if self.process is None:
            state = ["--initial-cluster-state=existing"] if joins else []
            processes.spawn([*self._etcd.command(self), *state], self._log)
        if wait:
            wait_for(f"etcd {self.name} (log: {self._log})", self._answers, seconds=READY_SECONDS)

    def ask(self, path: str, **body: Any) -> Json:
        """One call of its gateway below ``/v3/``, as root.

        Raises:
            OSError: it does not answer, or refuses.
        """
        headers = {"Content-Type": "application/json"}
        if self._etcd.shape.password and path != "auth/authenticate":
            told = self.ask("auth/authenticate", name=USER, password=self._etcd.shape.password)
            headers["Authorization"] = told["token"]
        request = urllib.request.Request(  # noqa: S310  our own URL
            f"{self.web}/v3/{path}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS, context=self._etcd.trust()) as answer:  # noqa: S310
            found: Json = json.load(answer)
        return found

    @property
    def log(self) -> str:
        """What it has said so far, in all its lives."""
        return self._log.read_text()

    @property
    def leads(self) -> bool:
        """Whether the others follow it."""
        status = self.ask("maintenance/status")
        return bool(status["leader"] == status["header"]["member_id"])

    @property
    def _log(self) -> Path:
        return self._etcd.folder / f"{self.name}.log"

    def _answers(self) -> bool:
        if self.process is None:
            message = f"etcd ended at its start; {self._log} says last:\n{tail(self._log.read_text())}"
            raise ToolError(message)
        url = f"{self.web}/readyz"
        with (
            suppress(OSError),
            urllib.request.urlopen(  # noqa: S310  our own URL
                url, timeout=_ASK_SECONDS, context=self._etcd.trust()
            ),
        ):
            return True
        return False
