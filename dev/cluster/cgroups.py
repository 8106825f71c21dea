"""A control group of our own for all pods, so that what is left after a crash is known to be ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.cluster.state import Settings

_ROOT = Path("/sys/fs/cgroup")


def prepare(settings: Settings) -> None:
    """Make the group in every hierarchy; the kubelet refuses to start without it."""
    for hierarchy in _hierarchies():
        _hand_down(hierarchy)
        (hierarchy / settings.bridge).mkdir(exist_ok=True)


def remove(settings: Settings) -> None:
    """Take the group away with everything in it; its processes have ended before."""
    for hierarchy in _hierarchies():
        group = hierarchy / settings.bridge
        folders = [folder for folder in group.rglob("*") if folder.is_dir()] if group.exists() else []
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            group.rmdir()


def _hierarchies() -> Iterator[Path]:
    if (_ROOT / "cgroup.controllers").exists():
        yield _ROOT
        return
    yield from (path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def _hand_down(hierarchy: Path) -> None:
    # In the unified hierarchy a group has only the controllers that its parent hands down.
    controllers = hierarchy / "cgroup.controllers"
    if controllers.exists():
        for name in controllers.read_text().split():
            with suppress(OSError):
                (hierarchy / "cgroup.subtree_control").write_text(f"+{name}")
