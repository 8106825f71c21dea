"""A MariaDB server with a folder, a socket and a port of its own, made to be broken and started again."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shutil
import socket
from typing import TYPE_CHECKING, Self

from dev import install
from dev.cluster import processes
from dev.cluster.ports import choose_ports, is_free
from dev.errors import ToolError
from dev.folders import locked, state_root
from dev.progress import step
from dev.shell import run, tail
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

DEFAULT = "default"
LOOPBACK = "127.0.0.1"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_PROGRAM = "mariadbd"
# Apart from the ports of the clusters, so that neither has to know the other.
_PORTS = range(29000, 30000)
_INSTALL_SECONDS = 120
_READY_SECONDS = 60
_GRACE_SECONDS = 30


class MariaDB:
    """A server; `up` gives a running one. Root has no password and enters by the socket only."""

    def __init__(self, folder: Path, *, bind: Sequence[str], options: Sequence[str], durable: bool) -> None:
        self.folder = folder
        self.bind = tuple(bind)
        self._options = tuple(options)
        self._durable = durable
        self.port = 0

    @classmethod
    def up(
        cls,
        name: str = DEFAULT,
        *,
        folder: Path | None = None,
        bind: Iterable[str] = (LOOPBACK,),
        sql: str = "",
        options: Iterable[str] = (),
        durable: bool = True,
    ) -> Self:
        """Bring a server up and run the SQL as root; a running one with the same options is left running.

        It listens at the addresses given. `options` are added to its command
        line. Without `durable`, a commit survives kill -9 but not a power cut.
        """
        if _found() is None:
            install.ensure(install.MARIADB, "the database")
        where = folder.absolute() if folder else database_folder(name)
        server = cls(where, bind=tuple(bind), options=tuple(options), durable=durable)
        with locked(where.with_name(where.name + ".lock")):
            if not server._is_as_asked():
                with step(f"MariaDB {where.name!r} is up"):
                    server._stop()
                    server._initialise()
                    server._start()
        if sql:
            server.execute(sql)
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the server and remove its data."""
        self.down()

    @property
    def socket(self) -> Path:
        """Where root enters."""
        return self.folder / "mariadb.sock"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def process(self) -> processes.Process | None:
        """The running server, or None."""
        return next(iter(processes.owned(self.folder, [_PROGRAM])), None)

    def execute(self, sql: str, *, schema: str | None = None, timeout: float = 60) -> str:
        """Run SQL as root; the rows come back as lines, their fields divided by tabs."""
        return run(
            *("mariadb", "--no-defaults", f"--socket={self.socket}", f"--user={_user()}"),
            *("--batch", "--skip-column-names", "--default-character-set=utf8mb4"),
            *([schema] if schema else []),
            stdin=sql,
            timeout=timeout,
        )

    def crash(self) -> None:
        """End the server as a crash does (SIGKILL); it stays down until `start`."""
        processes.kill(processes.owned(self.folder, [_PROGRAM]))

    def start(self) -> None:
        """Start the server after a crash, and wait until it answers."""
        if self.process is None:
            self._start()

    def stop(self) -> None:
        """End the server in order; its data stay."""
        self._stop()

    def restart(self) -> None:
        """End the server in order and start it again."""
        self._stop()
        self._start()

    def down(self) -> None:
        """End the server and remove its data."""
        # Its data are thrown away: there is nothing to write out in order.
        self.crash()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_name(self.folder.name + ".lock").unlink(missing_ok=True)

    def _is_as_asked(self) -> bool:
        running = self.process
        if running is None or not _greets(self.socket):
            return False
        self.port = _port_of(running.argv)
        return running.argv[1:] == tuple(self._arguments())

    def _initialise(self) -> None:
        if (self.folder / "complete").exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        run(
            *(
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={self.folder / 'data'}",
                f"--user={_user()}",
            ),
            *("--auth-root-authentication-method=socket", f"--auth-root-socket-user={_user()}"),
            *("--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M"),
            timeout=_INSTALL_SECONDS,
        )
        (self.folder / "complete").touch()

    def _start(self) -> None:
        # Held until the server listens, so that no other one chooses the same port.
        with locked(state_root() / "database-ports.lock"):
            self.port = self._choose_port()
            processes.spawn([_program(), *self._arguments()], self.log)
            wait_for(f"MariaDB (log: {self.log})", self._answers, seconds=_READY_SECONDS)

    def _choose_port(self) -> int:
        file = self.folder / "port"
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.port = int(file.read_text())
        wanted = {"port": self.port} if self.port else {}
        port = choose_ports(["port"], wanted, (), is_free, _PORTS)["port"]
        file.write_text(str(port))
        return port

    def _stop(self) -> None:
        processes.end(processes.owned(self.folder, [_PROGRAM]), grace=_GRACE_SECONDS)

    def _answers(self) -> bool:
        if self.process is None:
            message = f"MariaDB ended at its start; {self.log} says last:\n{tail(self.log.read_text())}"
            raise ToolError(message)
        return _greets(self.socket)

    def _arguments(self) -> list[str]:
        flush = "1" if self._durable else "2"
        return [
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'server.pid'}",
            f"--port={self.port}",
            f"--bind-address={','.join(self.bind)}",
            f"--user={_user()}",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=64M",
            f"--innodb-flush-log-at-trx-commit={flush}",
            "--skip-name-resolve",
            *self._options,
        ]


def database_folder(name: str) -> Path:
    """The state folder of a server, which need not exist."""
    if not _NAME.fullmatch(name):
        message = f"{name!r} cannot name a database: lower case letters, digits and '-', at most 30 of them"
        raise ToolError(message)
    # No cluster's name begins like this.
    return state_root() / "_databases" / name


def _found() -> str | None:
    return shutil.which(_PROGRAM, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def _program() -> str:
    found = _found()
    if found is None:
        message = f"{_PROGRAM} is not on the PATH; install MariaDB 10.11 or later"
        raise ToolError(message)
    return found


def _user() -> str:
    return getpass.getuser()


def _port_of(argv: Sequence[str]) -> int:
    return next((int(word.partition("=")[2]) for word in argv if word.startswith("--port=")), 0)


def _greets(path: Path) -> bool:
    """Whether a server sends its greeting, which it does only when it takes connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            return len(probe.recv(5)) == 5  # noqa: PLR2004 - a packet's header and the protocol's number
        except OSError:
            return False
