"""The base image of our own images: a small Debian with Python, made from Debian's packages."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from dev.folders import locked
from dev.images import debian, storage
from dev.progress import Step, step
from dev.shell import follow

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
# What nothing in a container reads. The charset converters are for other
# encodings than those that the C library and Python have built in.
UNNEEDED = (
    "usr/lib/*/gconv",
    "usr/share/doc",
    "usr/share/doc-base",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
_KEPT_EMPTY = ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log", "usr/share/man/man1")
_SECONDS = 1800


def name() -> str:
    """The image's name; it changes with everything that the image is made from."""
    inputs = json.dumps([SUITE, PACKAGES, UNNEEDED, _KEPT_EMPTY])
    return f"localhost/globaltx/base:{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


def ensure() -> str:
    """Make the image unless it is there, and give its name."""
    storage.ensure_tools()
    image = name()
    with locked(storage.folder() / "base.lock"):
        if storage.image_id(image) is None:
            with step(f"make the base image {image} (once a machine)") as making:
                _make(image, making)
    return image


def _make(image: str, making: Step) -> None:
    with tempfile.TemporaryDirectory(dir=storage.folder(), prefix="base-") as scratch:
        root = Path(scratch) / "root"
        _debootstrap(root, making)
        strip(root)
        container = storage.buildah("from", "scratch")
        try:
            storage.buildah("add", container, root, "/")
            storage.buildah("config", "--cmd", "python3", "--env", "LANG=C.UTF-8", container)
            storage.buildah("commit", container, image)
        finally:
            storage.buildah("rm", container)


def _debootstrap(root: Path, making: Step) -> None:
    mirror = debian.mirror(SUITE)
    follow(
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        root,
        *([mirror] if mirror else []),
        on_line=making.tell,
        timeout=_SECONDS,
    )


def strip(root: Path) -> None:
    """Remove what nothing in a container reads, and name Python as other images do."""
    for pattern in UNNEEDED:
        for path in root.glob(pattern):
            shutil.rmtree(path)
    for kept in _KEPT_EMPTY:
        (root / kept).mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
