"""The compiled load (`bench/driver`): built once a machine, run as a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.folders import cache_root, locked
from dev.shell import follow, run
from dev.waiting import wait_for
from tests.ports import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCES = Path(__file__).parent / "driver"
_BUILD_SECONDS = 600
_SPARE_SECONDS = 60
_KEPT_SECONDS = 24 * 3600
_UNIT_SECONDS = 0.5
"""What a unit may take where they are counted; a machine that is slower than that is of no use here."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the load has seen; latencies in milliseconds."""

    done: int
    failed: int
    failures: dict[str, int]
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    queries_per_unit: int
    fewest_of_a_client: int
    most_of_a_client: int

    @property
    def per_second(self) -> float:
        """Units of work done in a second."""
        return self.done / self.seconds

    @property
    def queries_per_second(self) -> float:
        """Statements done in a second."""
        return self.per_second * self.queries_per_unit


def program() -> Path:
    """Build the driver, unless that was done; give the program."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    home = cache_root() / "bench-driver"
    built = home / digest.hexdigest()[:16] / "driver"
    with locked(home.with_suffix(".lock")):
        if not built.exists():
            _forget_old(home)
            folder = built.parent / "sources"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(_SOURCES, folder)
            command = ("go", "build", "-mod=readonly", "-o", str(built), ".")
            follow(*command, on_line=print, timeout=_BUILD_SECONDS, cwd=folder)
    return built


def _forget_old(home: Path) -> None:
    """Remove what was built of other sources; what another working copy may be running is left."""
    for old in home.glob("*"):
        if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Work:
    """What is sent: one of the driver's kinds of work, to a database or to an application."""

    name: str
    clients: int = 1
    seconds: float = 2.0
    count: int = 0
    """So many units a client, instead of a time."""
    dsn: str = ""
    url: str = ""
    rows: int = 1000
    xids: tuple[str, ...] = ()
    prepared: bool = False
    hot: bool = False

    def flags(self) -> list[str]:
        """As the driver reads it."""
        return [
            f"-work={self.name}",
            f"-clients={self.clients}",
            f"-seconds={self.seconds}",
            f"-count={self.count}",
            f"-dsn={self.dsn}",
            f"-url={self.url}",
            f"-rows={self.rows}",
            f"-xids={','.join(self.xids)}",
            f"-prepared={str(self.prepared).lower()}",
            f"-hot={str(self.hot).lower()}",
        ]


def send(work: Work) -> Report:
    """Send work, and tell what came of it.

    Raises:
        ToolError: nothing of it was done.
    """
    most = work.count * work.clients * _UNIT_SECONDS if work.count else work.seconds
    said = run(program(), "load", *work.flags(), timeout=most + _SPARE_SECONDS)
    report = Report(**json.loads(said))
    if report.done == 0:
        message = f"nothing of {work.name} was done: {report.failures}"
        raise ToolError(message)
    return report


@contextlib.contextmanager
def serving(command: str, *flags: str, port: int = 0) -> Iterator[int]:
    """Run one of the driver's listening commands; give its port."""
    port = port or free_port()
    process = subprocess.Popen([str(program()), command, f"-listen={LOOPBACK}:{port}", *flags])
    try:
        wait_for(f"the driver to {command}", lambda: _accepts(port), seconds=10, every=0.01)
        yield port
    finally:
        process.kill()
        process.wait(10)


def _accepts(port: int) -> bool:

    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
        return True
    return False
