"""Building an image from a Dockerfile, and giving it as an archive that a node can load."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.folders import locked
from dev.images import base, machine, storage
from dev.progress import say, step

if TYPE_CHECKING:
    from collections.abc import Mapping

_WORDS = (3, 4)


def build(
    dockerfile: Path,
    target: str | None,
    tag: str,
    base_image: str | None = None,
    *,
    context: Path | None = None,
    arguments: Mapping[str, str] | None = None,
) -> Path:
    """Build an image and give its archive; steps whose inputs are unchanged come from the cache.

    The base image is ours unless another one is named, and the context is the
    Dockerfile's folder. Nothing of this machine's set-up stays in the image.
    """
    storage.ensure_tools()
    given = {"BASE_IMAGE": base_image or base.ensure(), **(arguments or {})}
    # Two builds of the same steps at once would both do them.
    with locked(storage.folder() / "build.lock"), step(f"build {tag}") as building:
        options = ["--isolation=chroot", "--layers", "--pull-never", "--format=oci", f"--tag={tag}"]
        options += [f"--build-arg={name}={value}" for name, value in given.items()]
        options += [f"--target={target}"] if target else []
        with tempfile.TemporaryDirectory() as scratch:
            options += machine.volumes(Path(scratch))
            storage.buildah_telling(
                "bud", *options, "--file", dockerfile, context or dockerfile.parent, on_line=building.tell
            )
        storage.forget_old_steps()
    return archive_of(tag)


def archive_of(image: str) -> Path:
    """The archive of an image that was built here; written once for each of its contents."""
    found = storage.image_id(image)
    if found is None:
        message = f"{image} is neither an archive nor an image that was built here"
        raise ToolError(message)
    folder = storage.folder() / "archives" / re.sub(r"[^\w.-]+", "_", image)
    with locked(folder.with_suffix(".lock")):
        archive = folder / f"{found}.tar"
        if not archive.exists():
            _write(image, archive)
    return archive


def _write(image: str, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    for outdated in archive.parent.glob("*"):
        outdated.unlink()
    fresh = archive.with_suffix(".new")
    storage.buildah("push", image, f"oci-archive:{fresh}:{image}")
    fresh.rename(archive)


def main(words: list[str]) -> int:
    """Build from the command line: `python -m dev.images.build DOCKERFILE TARGET TAG [CONTEXT]`."""
    if len(words) not in _WORDS:
        say(main.__doc__ or "")
        return 2
    dockerfile, target, tag, *context = words
    try:
        folder = Path(context[0]) if context else None
        print(build(Path(dockerfile), target or None, tag, context=folder))
    except ToolError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
