"""The Kubernetes programs: compiled once a machine from the pinned Go module beside this file."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.folders import cache_root, locked
from dev.progress import Step, step
from dev.shell import follow, run

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULE = Path(__file__).parent / "binary"
NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubectl",
    "kubelet",
)
# Each program of its own: the package that it is built from.
PACKAGES = {
    "kubernetes": "./kubernetes",
    "coredns": "./coredns",
    "pause": "./pause",
    "helm": "helm.sh/helm/v3/cmd/helm",
}
_COMPILED = 3100  # about as many packages as a build from nothing compiles
_BUILD_SECONDS = 3600
_OLDEST_GO = (1, 24)


def binaries() -> Path:
    """The folder with all programs by their names, built first where that is still to do."""
    folder = cache_root() / "kubernetes" / key(sources(MODULE), platform.machine())
    if not (folder / "complete").exists():
        with locked(folder.parent / "lock"):
            if not (folder / "complete").exists():
                _build(folder)
    return folder / "bin"


def sources(module: Path) -> list[tuple[str, bytes]]:
    """Every file that says what is built, by its path in the module."""
    files = [*module.glob("go.*"), *module.rglob("*.go")]
    return sorted((file.relative_to(module).as_posix(), file.read_bytes()) for file in files)


def key(files: Iterable[tuple[str, bytes]], machine: str) -> str:
    """A name that changes whenever a source file, its path or the kind of machine does."""
    digest = hashlib.sha256(machine.encode())
    for path, content in files:
        digest.update(f"\0{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def version_of(dependency: str, gomod: str) -> str:
    """The version that a go.mod requires of a module, as `v1.2.3`."""
    found = re.search(rf"^\s*(?:require )?{re.escape(dependency)} (v\S+)", gomod, re.MULTILINE)
    if found is None:
        message = f"go.mod does not require {dependency}"
        raise ToolError(message)
    return found[1]


def link_flags(gomod: str) -> str:
    """What the linker writes into the programs: without it a server calls itself v0.0.0."""
    kubernetes, helm = (version_of(name, gomod) for name in ("k8s.io/kubernetes", "helm.sh/helm/v3"))
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    named = {
        "helm.sh/helm/v3/internal/version.version": helm,
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": major,
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": minor,
    }
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        named[f"{package}.gitVersion"] = kubernetes
        named[f"{package}.gitMajor"] = major
        named[f"{package}.gitMinor"] = minor
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in named.items())])


def _build(folder: Path) -> None:
    _check_go()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for name in PACKAGES:
            with step(
                f"compile {name} (once a machine; 5 to 12 minutes for all on two processors)"
            ) as building:
                _compile(name, Path(scratch), building)
        shutil.rmtree(folder / "bin", ignore_errors=True)
        (folder / "bin").mkdir()
        for name in PACKAGES:
            (Path(scratch) / name).rename(folder / "bin" / name)
    for name in NAMES:
        (folder / "bin" / name).symlink_to("kubernetes")
    # Written last: a build that was stopped half-way is begun again.
    (folder / "complete").touch()


def _compile(name: str, out: Path, building: Step) -> None:
    flags = link_flags((MODULE / "go.mod").read_text())
    compiled = 0

    def count(_line: str) -> None:
        nonlocal compiled
        compiled += 1
        building.tell(f"{compiled} of about {_COMPILED} packages")

    command = ["go", "build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags]
    follow(
        *command,
        "-o",
        out / name,
        PACKAGES[name],
        cwd=MODULE,
        env={"CGO_ENABLED": "0"},
        on_line=count,
        timeout=_BUILD_SECONDS,
    )


def _check_go() -> None:
    remedy = "install Go 1.24 or later (https://go.dev/doc/install) and put it on the PATH"
    if shutil.which("go") is None:
        message = f"Go is not installed; it compiles the local Kubernetes: {remedy}"
        raise ToolError(message)
    found = re.search(r"go(\d+)\.(\d+)", run("go", "version"))
    if found is None or (int(found[1]), int(found[2])) < _OLDEST_GO:
        message = f"this Go is too old for Kubernetes: {remedy}"
        raise ToolError(message)
