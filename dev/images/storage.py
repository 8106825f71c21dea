"""Our own store of images on this machine, apart from the one that other tools use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev import install
from dev.errors import ToolError
from dev.folders import cache_root
from dev.shell import follow, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECONDS = 1800
_CACHED_STEPS = 60


def folder() -> Path:
    """Where images, archives and what builds leave behind are kept."""
    return cache_root() / "images"


def ensure_tools() -> None:
    """Install what building needs, and make the folder."""
    install.ensure(install.IMAGES, "building images")
    folder().mkdir(parents=True, exist_ok=True)


def buildah(*arguments: str | Path) -> str:
    """Run buildah on our store to its end and give what it prints."""
    return run(*_command(), *arguments, timeout=_SECONDS).strip()


def buildah_telling(*arguments: str | Path, on_line: Callable[[str], None]) -> None:
    """Run a long buildah and hand on each line that it prints."""
    follow(*_command(), *arguments, on_line=on_line, timeout=_SECONDS)


def image_id(image: str) -> str | None:
    """The id of an image of our store, or None."""
    try:
        found = buildah("images", "--no-trunc", "--format", "{{.ID}}", image)
    except ToolError:
        return None
    return found.splitlines()[0].removeprefix("sha256:") if found else None


def forget_old_steps() -> None:
    """Keep the store from growing: beyond a number of cached steps, all but the images in use are removed."""
    steps = buildah("images", "--filter", "dangling=true", "--quiet").split()
    if len(steps) > _CACHED_STEPS:
        buildah("rmi", "--prune")


def _command() -> tuple[str, ...]:
    return ("buildah", "--root", str(folder() / "storage"), "--runroot", str(folder() / "run"))
