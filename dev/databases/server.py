"""A database server with a folder, a socket and a port of its own, made to be broken and started again."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from dev.cluster import processes
from dev.cluster.ports import by_chance, choose_ports, is_free
from dev.errors import ToolError
from dev.folders import locked, state_root
from dev.progress import step
from dev.shell import tail
from dev.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

DEFAULT = "default"
LOOPBACK = "127.0.0.1"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
# Apart from the ports of the clusters, so that neither has to know the other.
_PORTS = range(29000, 30000)
_READY_SECONDS = 60
_GRACE_SECONDS = 30


class Server(ABC):
    """A server; `up` gives a running one. Root has no password and enters by the socket only."""

    kind: ClassVar[str]
    """Its name for people."""
    program: ClassVar[str]
    """The name that its process goes by."""
    _suffix: ClassVar[str] = ""
    """Keeps servers of one name and several kinds apart."""

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
        cls._provide()
        where = folder.absolute() if folder else cls.folder_of(name)
        server = cls(where, bind=tuple(bind), options=tuple(options), durable=durable)
        with locked(where.with_name(where.name + ".lock")):
            if not server._is_as_asked():
                with step(f"{cls.kind} {where.name!r} is up"):
                    server._stop()
                    server._initialise()
                    server._start()
        if sql:
            server.execute(sql)
        return server

    @classmethod
    def folder_of(cls, name: str) -> Path:
        """The state folder of a server, which need not exist."""
        if not _NAME.fullmatch(name):
            message = f"{name!r} cannot name a database: lower case letters, digits, '-', at most 30 of them"
            raise ToolError(message)
        # No cluster's name begins like this.
        return state_root() / "_databases" / f"{name}{cls._suffix}"

    @classmethod
    def of(cls, name: str) -> Self:
        """A server by its name, to look at it or to end it; it need not exist."""
        return cls(cls.folder_of(name), bind=(), options=(), durable=True)

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
        return self.folder / "server.sock"

    @property
    def temporary(self) -> Path:
        """Its own place for temporary tables: at its start a server removes all that it finds there."""
        made = self.folder / "tmp"
        made.mkdir(parents=True, exist_ok=True)
        return made

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def process(self) -> processes.Process | None:
        """The running server, or None."""
        return next(iter(processes.owned(self.folder, [self.program])), None)

    @abstractmethod
    def execute(self, sql: str, *, schema: str | None = None, timeout: float = 60) -> str:
        """Run SQL as root; the rows come back as lines, their fields divided by tabs."""

    def crash(self) -> None:
        """End the server as a crash does (SIGKILL); it stays down until `start`."""
        processes.kill(processes.owned(self.folder, [self.program]))

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

    @classmethod
    @abstractmethod
    def _provide(cls) -> None:
        """See to it that the server's programs are on this machine."""

    @abstractmethod
    def _make_data(self) -> None:
        """Fill the data folder of a new server."""

    @abstractmethod
    def _command(self) -> list[str]:
        """How the server's program is called, without arguments."""

    @abstractmethod
    def _arguments(self) -> list[str]:
        """The arguments of the server."""

    def _own_arguments(self) -> list[str]:
        """The arguments that say where this server is."""
        return [
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.temporary}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'server.pid'}",
            f"--port={self.port}",
            f"--bind-address={','.join(self.bind)}",
            "--character-set-server=utf8mb4",
            "--innodb-buffer-pool-size=128M",
            f"--innodb-flush-log-at-trx-commit={1 if self._durable else 2}",
            "--skip-name-resolve",
        ]

    def _call(self) -> list[str]:
        return [*self._command(), *self._arguments(), *self._options]

    def _is_as_asked(self) -> bool:
        running = self.process
        if running is None or not _greets(self.socket):
            return False
        self.port = _port_of(running.argv)
        return running.argv[1:] == tuple(self._call()[1:])

    def _initialise(self) -> None:
        if (self.folder / "complete").exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_data()
        (self.folder / "complete").touch()

    def _start(self) -> None:
        # Held until the server listens, so that no other one chooses the same port.
        with locked(state_root() / "database-ports.lock"):
            self.port = self._choose_port()
            processes.spawn(self._call(), self.log)
            wait_for(f"{self.kind} (log: {self.log})", self._answers, seconds=_READY_SECONDS)

    def _choose_port(self) -> int:
        file = self.folder / "port"
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.port = int(file.read_text())
        wanted = {"port": self.port} if self.port else {}
        port = choose_ports(["port"], wanted, (), is_free, by_chance(_PORTS))["port"]
        file.write_text(str(port))
        return port

    def _stop(self) -> None:
        processes.end(processes.owned(self.folder, [self.program]), grace=_GRACE_SECONDS)

    def _answers(self) -> bool:
        if self.process is None:
            message = f"{self.kind} ended at its start; {self.log} says last:\n{tail(self.log.read_text())}"
            raise ToolError(message)
        return _greets(self.socket)


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
