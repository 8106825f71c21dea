"""Where the chart's own etcd is, and what its Secrets are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "globaltx-etcd"  # noqa: S105  the name of one
"""In each namespace with injected pods: what its sidecars enter by."""


@dataclass(frozen=True, slots=True)
class BundledOptions:
    """The operator's choices; names are those of the chart."""

    name: str
    """Of the StatefulSet and of its headless Service."""
    members: int
    namespace: str
    """Theirs, which is the operator's own."""
    folder: Path
    """Where what the operator itself enters by is written, for `EtcdAccess`."""
    prefix: str
    """What every key begins with; ends with a slash."""
    served: tuple[str, ...] = ()
    """Namespaces whose sidecars enter; empty: all."""
    interval_seconds: float = 10.0
    """How often Secrets, certificates and users are looked at."""

    @property
    def authorities(self) -> str:
        """The Secret with the authorities and their keys; no pod mounts it."""
        return f"{self.name}-authorities"

    @property
    def root(self) -> str:
        """The Secret with the password of etcd's root; no pod mounts it."""
        return f"{self.name}-root"

    @property
    def server(self) -> str:
        """The Secret that the members mount."""
        return f"{self.name}-server"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The members' names."""
        service = f"{self.name}.{self.namespace}.svc"
        return tuple(f"{self.name}-{number}.{service}" for number in range(self.members))
