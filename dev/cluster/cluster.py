"""A cluster as an object: bring it up, use it, break parts of it, take it away."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Self

from dev.cluster import configs, files, health, lifecycle, node, processes
from dev.cluster.binaries import binaries
from dev.cluster.state import Component, Mode, Settings, load, state_folder
from dev.errors import ToolError
from dev.folders import locked, state_root
from dev.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

DEFAULT = "default"


class Cluster:
    """A running cluster of this machine; `up` and `find` give one."""

    def __init__(self, settings: Settings, programs: Path) -> None:
        self.settings = settings
        self.programs = programs

    @classmethod
    def up(
        cls,
        name: str = DEFAULT,
        mode: Mode | str | None = None,
        *,
        without: Iterable[Component | str] = (),
        durable: bool = False,
    ) -> Self:
        """Bring a cluster up, or find that it is; without a mode: as it was, or full.

        `without` leaves programs out (controller manager, scheduler); `durable`
        lets etcd wait for the disk, as it does in production.
        """
        asked = Mode(mode) if mode else None
        left_out = tuple(sorted(Component(part) for part in without))
        lock = _lock(name)
        with locked(lock):
            try:
                settings = lifecycle.up(name, asked, left_out, durable=durable)
            finally:
                if not state_folder(name).exists():
                    lock.unlink()
        return cls(settings, binaries())

    @classmethod
    def find(cls, name: str = DEFAULT) -> Self:
        """The cluster of this name, running or crashed; an error where there is none."""
        settings = load(name)
        if settings is None:
            message = f"there is no cluster {name!r}; `python -m dev.cluster up --name {name}` makes it"
            raise ToolError(message)
        return cls(settings, binaries())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the cluster away."""
        self.down()

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.settings.name

    @property
    def mode(self) -> Mode:
        """How much of a Kubernetes it is."""
        return self.settings.mode

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return files.kubeconfig_file(self.settings)

    @property
    def context(self) -> str:
        """The kubeconfig's context."""
        return configs.context_name(self.settings)

    @property
    def server(self) -> str:
        """The API server's address for programs on this machine."""
        return self.settings.server

    @property
    def bridge_ip(self) -> str:
        """This machine's address for pods (full mode), for databases and webhooks outside of the cluster."""
        if self.settings.mode is not Mode.FULL:
            message = f"the cluster {self.name!r} runs no pods, so it has no bridge; use --mode full"
            raise ToolError(message)
        return self.settings.bridge_ip

    @property
    def env(self) -> dict[str, str]:
        """This process's environment with our programs first on the PATH and the kubeconfig set."""
        path = f"{self.programs}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, "KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run our kubectl as the administrator and give what it prints; a CommandError when it fails."""
        return run(self.programs / "kubectl", *arguments, stdin=stdin, timeout=timeout, env=self.env)

    def helm(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run our helm as the administrator and give what it prints."""
        return run(self.programs / "helm", *arguments, stdin=stdin, timeout=timeout, env=self.env)

    def load_image(self, archive: Path) -> None:
        """Bring an image archive (OCI or Docker) into the node."""
        node.load_image(self.settings, archive)

    def images(self) -> set[str]:
        """The names of all images of the node."""
        return node.images(self.settings)

    def log(self, component: Component | str) -> Path:
        """The file that a program's output goes to."""
        return lifecycle.log_file(self.settings, Component(component))

    def process(self, component: Component | str) -> processes.Process | None:
        """The running program, or None."""
        return lifecycle.find(self.settings, Component(component))

    def is_ready(self, component: Component | str) -> bool:
        """Whether a program runs and answers that it is ready."""
        part = Component(component)
        return self.process(part) is not None and health.is_ready(self.settings, part)

    def crash(self, component: Component | str) -> None:
        """Kill a program as a crash does (SIGKILL); it stays down until `start`."""
        processes.kill(lifecycle.found(self.settings, [Component(component)]))

    def start(self, component: Component | str) -> None:
        """Start a program that is down, and wait until it is ready."""
        lifecycle.start(self.settings, Component(component), self.programs)

    def down(self) -> None:
        """End everything and remove every trace of the cluster."""
        remove(self.name)


def remove(name: str = DEFAULT) -> None:
    """End everything of a cluster, whatever state it is in, and remove every trace of it."""
    folder = state_folder(name)
    lock = _lock(name)
    with locked(lock):
        lifecycle.down(name)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            message = f"{folder} could not be removed; `mount | grep {folder}` tells what still holds it"
            raise ToolError(message)
        lock.unlink(missing_ok=True)


def _lock(name: str) -> Path:
    state_folder(name)  # checks the name
    return state_root() / f"{name}.lock"
