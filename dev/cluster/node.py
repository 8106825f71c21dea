"""What a node leaves on the machine besides its programs: containers, mounts, links; and its images."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dev.cluster import cgroups, network, processes
from dev.errors import ToolError
from dev.images.archive import names_and_digests
from dev.shell import run, succeeds

if TYPE_CHECKING:
    from dev.cluster.state import Settings

SHIM = "containerd-shim-runc-v2"
_MOUNTS = Path("/proc/self/mountinfo")
_LOG_LINKS = Path("/var/log/containers")
_KUBELET = Path("/var/lib/kubelet")  # of its few fixed paths the only one that no option moves
_CNI_RESULTS = Path("/var/lib/cni/results")
_NAMESPACE = "k8s.io"
_IMPORT_SECONDS = 300


def clean(settings: Settings) -> None:
    """End every container and undo every mount, as a restart of the machine would."""
    folder = settings.folder
    _delete_containers(folder / "run" / "runc" / _NAMESPACE)
    processes.kill(processes.owned(folder, [SHIM]))
    _remove_shim_sockets(folder)
    unmount_below(folder)
    shutil.rmtree(folder / "run", ignore_errors=True)
    shutil.rmtree(folder / "ipam", ignore_errors=True)
    cgroups.remove(settings)
    _remove_links(folder)
    _remove_network_results(folder)


def remove(settings: Settings) -> None:
    """Clean, and take the network away too."""
    clean(settings)
    network.remove(settings)
    (_KUBELET / "device-plugins" / "kubelet.sock").unlink(missing_ok=True)
    for made in (_KUBELET / "device-plugins", _KUBELET):
        with suppress(OSError):
            made.rmdir()


def load_image(settings: Settings, archive: Path) -> None:
    """Bring an image archive (OCI or Docker) into the node, unless the node has all that is in it."""
    inside = names_and_digests(archive)
    if inside and inside <= _held(settings):
        return
    _ctr(settings, "images", "import", "--all-platforms", str(archive))


def images(settings: Settings) -> set[str]:
    """The names of all images of the node."""
    return {name for name, _ in _held(settings)}


def _held(settings: Settings) -> set[tuple[str, str]]:
    """Every image of the node by name and digest."""
    lines = _ctr(settings, "images", "list").splitlines()[1:]
    return {(name, digest) for name, _, digest, *_ in map(str.split, lines)}


def unmount_below(folder: Path) -> None:
    """Undo every mount below a folder, the deepest first."""
    mark = f"{folder}/"
    points = [line.split()[4] for line in _MOUNTS.read_text().splitlines()]
    # A mount point is written with octal escapes for the characters that separate fields.
    ours = sorted((point for point in points if point.startswith(mark)), key=len, reverse=True)
    for point in ours:
        if not succeeds("umount", _unescaped(point)):
            with suppress(ToolError):
                run("umount", "--lazy", _unescaped(point))


def _unescaped(point: str) -> str:
    return point.encode().decode("unicode_escape")


def _delete_containers(root: Path) -> None:
    for container in root.iterdir() if root.exists() else ():
        with suppress(ToolError):
            run("runc", "--root", root, "delete", "--force", container.name)


def _remove_shim_sockets(folder: Path) -> None:
    # Shims listen outside of our folder, each at the address that it has written into its own.
    for address in (folder / "run" / "containerd").glob("io.containerd.runtime.v2.task/*/*/address"):
        Path(address.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_network_results(folder: Path) -> None:
    # Each names the network namespace that it is about, and those are in our folder.
    for result in _CNI_RESULTS.glob("*"):
        if f"{folder}/" in result.read_text(errors="replace"):
            result.unlink(missing_ok=True)


def _remove_links(folder: Path) -> None:
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and os.readlink(link).startswith(f"{folder}/"):  # noqa: PTH115 - the text, not a Path
            link.unlink(missing_ok=True)


def _ctr(settings: Settings, *arguments: str) -> str:
    socket = settings.folder / "run" / "containerd.sock"
    return run("ctr", "--address", socket, "--namespace", _NAMESPACE, *arguments, timeout=_IMPORT_SECONDS)
