"""What a cluster is: its name, mode, ports and network, kept in one file of its state folder."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from dev.errors import ToolError
from dev.folders import state_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "cluster.json"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")


class Mode(StrEnum):
    """How much of a Kubernetes runs."""

    CONTROL_PLANE = "control-plane"
    FULL = "full"


class Component(StrEnum):
    """The programs of a cluster, by the names that they are started under."""

    ETCD = "etcd"
    APISERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    CONTAINERD = "containerd"
    KUBELET = "kubelet"
    PROXY = "kube-proxy"
    COREDNS = "coredns"


PORTS = (
    "etcd",
    "etcd-peer",
    "apiserver",
    "controller-manager",
    "scheduler",
    "kubelet",
    "kubelet-health",
    "proxy-health",
    "proxy-metrics",
    "coredns-health",
    "coredns-ready",
)
_CONTROL_PLANE = (Component.ETCD, Component.APISERVER, Component.CONTROLLER_MANAGER)
_FULL = (
    *_CONTROL_PLANE,
    Component.SCHEDULER,
    Component.CONTAINERD,
    Component.KUBELET,
    # After the kubelet: kube-proxy asks the node object for the node's address.
    Component.PROXY,
    Component.COREDNS,
)
OPTIONAL = frozenset({Component.CONTROLLER_MANAGER, Component.SCHEDULER})


@dataclass(frozen=True)
class Settings:
    """Everything that is chosen at the first `up` and kept until `down`."""

    name: str
    mode: Mode
    ports: dict[str, int]
    without: tuple[Component, ...] = ()
    pods: str = ""
    services: str = "10.96.0.0/16"
    bridge_ip: str = ""
    durable: bool = False

    @property
    def components(self) -> tuple[Component, ...]:
        """The programs of this cluster, in the order in which they start."""
        every = _FULL if self.mode is Mode.FULL else _CONTROL_PLANE
        return tuple(component for component in every if component not in self.without)

    @property
    def folder(self) -> Path:
        """The state folder of this cluster."""
        return state_folder(self.name)

    @property
    def bridge(self) -> str:
        """The bridge's name; an interface's name has at most 15 characters."""
        return "gtx" + sha256(self.name.encode()).hexdigest()[:8]

    @property
    def node(self) -> str:
        """The name of the one node."""
        return f"{self.name}-node"

    @property
    def server(self) -> str:
        """Where programs on this machine reach the API server."""
        return f"https://127.0.0.1:{self.ports['apiserver']}"

    def covers(self, mode: Mode, without: tuple[Component, ...]) -> bool:
        """Whether this cluster has all that is asked for."""
        asked = replace(self, mode=mode, without=without).components
        return set(asked) <= set(self.components)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the file's text back."""
        held = json.loads(text)
        held["mode"] = Mode(held["mode"])
        held["without"] = tuple(Component(name) for name in held["without"])
        return cls(**held)

    def save(self) -> None:
        """Write the file whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{FILE}.new"
        fresh.write_text(self.to_json())
        fresh.replace(self.folder / FILE)


def state_folder(name: str) -> Path:
    """The state folder of a cluster, which need not exist."""
    if not _NAME.fullmatch(name):
        message = f"{name!r} cannot name a cluster: lower case letters, digits and '-', at most 30 of them"
        raise ToolError(message)
    return state_root() / name


def load(name: str) -> Settings | None:
    """What was chosen for a cluster, or None where there is none of this name."""
    try:
        return Settings.from_json((state_folder(name) / FILE).read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as broken:
        message = f"{state_folder(name) / FILE} cannot be read ({broken}); `down` removes the cluster"
        raise ToolError(message) from broken


def clusters() -> Iterator[Settings]:
    """Every cluster of this machine that has a readable state file."""
    for file in sorted(state_root().glob(f"*/{FILE}")):
        try:
            yield Settings.from_json(file.read_text())
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            continue
