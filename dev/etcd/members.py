"""An etcd of one or three members with ports and a folder of its own.

Its program is the etcd within the local Kubernetes.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dev.cluster import processes
from dev.cluster.binaries import binaries
from dev.cluster.ports import by_chance, choose_ports, is_free
from dev.errors import ToolError
from dev.etcd.certificates import make_certificates
from dev.etcd.member import READY_SECONDS, USER, Member, Ports
from dev.folders import locked, state_root
from dev.progress import step
from dev.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

DEFAULT = "default"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
# Apart from those of the clusters and of the databases, so that none has to know the others.
_PORTS = range(20000, 21000)
_GRACE_SECONDS = 20


@dataclass(frozen=True)
class _Shape:
    members: int = 1
    tls: bool = False
    password: str = ""
    durable: bool = True
    options: tuple[str, ...] = ()


class Etcd:
    """An etcd; `up` gives a running one."""

    def __init__(self, folder: Path, shape: _Shape | None = None) -> None:
        self.folder = folder
        self.shape = shape or _Shape()
        self.members: list[Member] = []

    @classmethod
    def up(
        cls,
        name: str = DEFAULT,
        *,
        folder: Path | None = None,
        members: int = 1,
        tls: bool = False,
        password: str = "",
        durable: bool = True,
        options: tuple[str, ...] = (),
    ) -> Self:
        """Bring an etcd up; members that run already are left running.

        Without ``durable`` a write survives kill -9 but not a power cut.
        """
        shape = _Shape(members, tls, password, durable, options)
        etcd = cls(folder.absolute() if folder else cls.folder_of(name), shape)
        with (
            locked(etcd.folder.with_name(etcd.folder.name + ".lock")),
            step(f"etcd {etcd.folder.name!r} is up"),
        ):
            etcd._start()
        return etcd

    @classmethod
    def folder_of(cls, name: str) -> Path:
        """The state folder of an etcd, which need not exist."""
        if not _NAME.fullmatch(name):
            message = f"{name!r} cannot name an etcd: lower case letters, digits, '-', at most 30 of them"
            raise ToolError(message)
        return state_root() / "_etcd" / name  # no cluster's name begins like this

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and remove its data."""
        self.down()

    @property
    def scheme(self) -> str:
        """Of its clients' URLs."""
        return "https" if self.shape.tls else "http"

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where clients reach its members."""
        return tuple(each.url for each in self.members)

    @property
    def credentials(self) -> Path:
        """A folder with what a client needs, as `globaltx.stores.etcd.access` reads it."""
        return self.folder / "client"

    @property
    def leader(self) -> Member:
        """The member that the others follow."""

        def find() -> Member | None:
            for each in self.members:
                with suppress(OSError):
                    if each.process is not None and each.leads:
                        return each
            return None

        return wait_for("a leader of etcd", find, seconds=READY_SECONDS)

    def move_leader(self) -> Member:
        """Let another member lead, and give it."""
        old = self.leader
        other = next(each for each in self.members if each is not old and each.process is not None)
        old.ask(
            "maintenance/transfer-leadership", targetID=other.ask("maintenance/status")["header"]["member_id"]
        )
        return other

    def keys(self, prefix: str) -> dict[str, str]:
        """All keys that begin with the prefix and their values, as its first member knows them."""
        start, end = prefix.encode(), prefix[:-1].encode() + bytes((ord(prefix[-1]) + 1,))
        told = self.members[0].ask("kv/range", key=_base64(start), range_end=_base64(end))
        return {_text(each["key"]): _text(each.get("value", "")) for each in told.get("kvs", ())}

    def size(self) -> int:
        """The bytes in use by the data of the first member."""
        return int(self.members[0].ask("maintenance/status")["dbSizeInUse"])

    def stop(self) -> None:
        """End all members in order; their data stay."""
        processes.end(self.processes(), grace=_GRACE_SECONDS)

    def down(self) -> None:
        """End all members and remove their data."""
        processes.kill(self.processes())
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.with_name(self.folder.name + ".lock").unlink(missing_ok=True)

    def renew(self) -> None:
        """Make another authority, and all that it signs; members trust it from their next start on."""
        make_certificates(self.folder / "pki", self.credentials)

    def processes(self) -> list[processes.Process]:
        """The members that run."""
        return processes.owned(self.folder, ["etcd"])

    def trust(self) -> ssl.SSLContext | None:
        """What speaks TLS with its gateway."""
        if not self.shape.tls:
            return None
        made = ssl.create_default_context(cafile=self.credentials / "ca.crt")
        own = self.folder / "pki" / "asking"
        found = own if own.with_suffix(".crt").exists() else self.credentials / "tls"
        made.load_cert_chain(found.with_suffix(".crt"), found.with_suffix(".key"))
        return made

    def command(self, member: Member) -> list[str]:
        """How a member is called."""
        peers = {each.name: f"{self.scheme}://127.0.0.1:{each.ports.peer}" for each in self.members}
        made = [
            str(binaries() / "etcd"),
            f"--name={member.name}",
            f"--data-dir={self.folder}/{member.name}",
            f"--listen-client-urls={member.url}",
            f"--listen-client-http-urls={member.web}",
            f"--advertise-client-urls={member.url}",
            f"--listen-peer-urls={peers[member.name]}",
            f"--initial-advertise-peer-urls={peers[member.name]}",
            f"--initial-cluster={','.join(f'{name}={url}' for name, url in peers.items())}",
            "--log-level=warn",
        ]
        if self.shape.tls:
            pki = self.folder / "pki"
            made += [f"--cert-file={pki}/server.crt", f"--key-file={pki}/server.key"]
            made += [f"--trusted-ca-file={pki}/ca.crt", "--client-cert-auth"]
            made += [f"--peer-cert-file={pki}/server.crt", f"--peer-key-file={pki}/server.key"]
            made += [f"--peer-trusted-ca-file={pki}/ca.crt", "--peer-client-cert-auth"]
        return [*made, *([] if self.shape.durable else ["--unsafe-no-fsync"]), *self.shape.options]

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_credentials()
        with locked(state_root() / "etcd-ports.lock"):
            ports = self._ports()
            self.members = [
                Member(self, f"m{number}", Ports(*(ports[f"{kind}-{number}"] for kind in Ports._fields)))
                for number in range(self.shape.members)
            ]
            for each in self.members:  # held until they listen, so that nobody else chooses these ports
                each.start(wait=False)
            for each in self.members:
                each.start()
        if self.shape.password:
            self._lock_up()

    def _ports(self) -> dict[str, int]:
        file = self.folder / "ports.json"
        wanted: dict[str, int] = {}
        with suppress(FileNotFoundError, ValueError):
            wanted = json.loads(file.read_text())
        numbers = range(self.shape.members)
        names = [f"{kind}-{number}" for kind in Ports._fields for number in numbers]
        mine = set(wanted.values()) if self.processes() else set()
        ports = choose_ports(names, wanted, (), lambda port: port in mine or is_free(port), by_chance(_PORTS))
        file.write_text(json.dumps(ports))
        return ports

    def _write_credentials(self) -> None:
        self.credentials.mkdir(mode=0o700, exist_ok=True)
        if self.shape.password:
            (self.credentials / "username").write_text(USER)
            (self.credentials / "password").write_text(self.shape.password)
        if self.shape.tls and not (self.folder / "pki").exists():
            self.renew()

    def _lock_up(self) -> None:
        """Let only root in; where that is so already, its password does."""
        first, password = self.members[0], self.shape.password
        with suppress(OSError):
            first.ask("auth/authenticate", name=USER, password=password)
            return
        open_ = Member(Etcd(self.folder, _Shape(self.shape.members, self.shape.tls)), first.name, first.ports)
        open_.ask("auth/user/add", name=USER, password=password)
        open_.ask("auth/role/add", name=USER)
        open_.ask("auth/user/grant", user=USER, role=USER)
        open_.ask("auth/enable")


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _text(raw: str) -> str:
    return base64.b64decode(raw).decode()
