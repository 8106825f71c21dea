"""Programs of ours as real processes: started, waited for, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dev.waiting import wait_for
from globaltx.coordinator.policy import Datasource
from globaltx.manifest.settings import DatasourceSettings, HttpSettings, SidecarSettings
from tests.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from globaltx.coordinator.policy import Route

PROBE_SECONDS = 2.0
LEASE = ("--lease-seconds", "5")
"""Of programs that tests kill: nobody learns anything by waiting 15 s for each of them."""
BIN = Path(sys.executable).parent


@dataclass
class Program:
    """A process of its own; an answer of 200 at ``ready`` means that it is up."""

    name: str
    command: Sequence[str]
    ready: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 30) -> Self:
        """Start it and wait until it is ready."""
        self.launch()
        self.wait_ready(seconds)
        return self

    def launch(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command), env=os.environ | dict(self.environment), stdout=log, stderr=log
            )

    def wait_ready(self, seconds: float = 30) -> None:
        """Wait until it is ready; an early end shows what it said."""
        wait_for(f"{self.name} to be ready: {self.ready}", self._is_ready, seconds=seconds, every=0.02)

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def stop(self, seconds: float = 30) -> int:
        """Ask it to end (SIGTERM) and give its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            message = f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}"
            raise RuntimeError(message)
        return get(self.ready)[0] == 200


def service(name: str, words: Sequence[str | Path], port: int, folder: Path, **environment: str) -> Program:
    """A Python program of an example, at a port of loopback; ``words`` are its file and what follows."""
    return Program(
        name=name,
        command=[sys.executable, *map(str, words)],
        ready=f"http://{LOOPBACK}:{port}/healthz",
        log=folder / f"{name}.log",
        environment={"PORT": str(port), **environment},
    )


def get(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = PROBE_SECONDS,
) -> tuple[int, str]:
    """Ask and give status and body; 0 when there is no answer."""
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310  loopback
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@dataclass(frozen=True)
class Account:
    """What the sidecar itself uses at the database."""

    user: str
    password: str


class SidecarProgram(Program):
    """``globaltx-sidecar`` with settings of its own, reaching the API server by a kubeconfig."""

    def __init__(
        self,
        settings: SidecarSettings,
        folder: Path,
        kubeconfig: Path,
        account: Account | None = None,
        *,
        pod: str = "",
        grace_seconds: float = 10,
    ) -> None:
        self.settings = settings
        pod = pod or f"{settings.app}-0"
        home = folder / pod
        home.mkdir(parents=True, exist_ok=True)
        (home / "settings.json").write_text(settings.to_json())
        for each in settings.datasources:
            credentials = home / "credentials" / each.datasource.name
            credentials.mkdir(parents=True, exist_ok=True)
            (credentials / "username").write_text(account.user if account else "")
            (credentials / "password").write_text(account.password if account else "")
        super().__init__(
            name=f"sidecar {pod}",
            command=[
                *(str(BIN / "globaltx-sidecar"), "--settings", str(home / "settings.json")),
                *("--kubeconfig", str(kubeconfig), "--credentials", str(home / "credentials")),
                *("--control-host", LOOPBACK, "--pod", pod, "--grace-seconds", str(grace_seconds)),
                *LEASE,
            ],
            ready=f"http://{LOOPBACK}:{settings.control_port}/readyz",
            log=home / "log",
        )

    @property
    def url(self) -> str:
        """Where its HTTP side listens."""
        if self.settings.http is None:
            message = f"{self.name} has no HTTP side"
            raise ValueError(message)
        return f"http://{self.settings.http.listen_host}:{self.settings.http.listen_port}"

    def parts(self) -> dict[str, dict[str, Any]]:
        """What each of its parts waits for."""
        parts: dict[str, dict[str, Any]] = json.loads(get(self.ready)[1])["parts"]
        return parts

    def metric(self, line: str) -> float:
        """One line of its metrics; 0 if there is none yet."""
        text = get(self.ready.replace("/readyz", "/metrics"))[1]
        return next(
            (float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line + " ")), 0.0
        )


def http_settings(upstream_port: int, routes: Sequence[Route] = ()) -> HttpSettings:
    """HTTP on a free port of loopback."""
    return HttpSettings(upstream_port, tuple(routes), free_port(), LOOPBACK)


def reached_by(source: DatasourceSettings) -> dict[str, str]:
    """What a program of an example is told of its database, which it reaches by its sidecar."""
    return {
        "DATABASE_HOST": LOOPBACK,
        "DATABASE_PORT": str(source.listen_port),
        "DATABASE_NAME": source.datasource.schema,
        "DATABASE_USER": "dksl",
        "DATABASE_PASSWORD": "123456",
    }


def datasource(name: str, schema: str, port: int) -> DatasourceSettings:
    """A datasource whose database and listener are on loopback."""
    source = Datasource(name=name, host=LOOPBACK, schema=schema, secret=name, port=port)
    return DatasourceSettings(source, LOOPBACK, free_port())
