"""etcd's image for the local cluster: the etcd within the local Kubernetes, put where the official one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dev.cluster.binaries import binaries
from dev.folders import locked
from dev.images import storage
from dev.images.build import archive_of
from dev.progress import step

if TYPE_CHECKING:
    from pathlib import Path


def name() -> str:
    """The image's name; it changes with the binary."""
    return f"localhost/globaltx/etcd:{binaries().parent.name}"


def ensure() -> Path:
    """Make the image unless it is there, and give its archive."""
    storage.ensure_tools()
    image = name()
    with locked(storage.folder() / "etcd.lock"):
        if storage.image_id(image) is None:
            with step(f"make the image {image} (once a machine)"):
                _make(image)
    return archive_of(image)


def _make(image: str) -> None:
    container = storage.buildah("from", "scratch")
    try:
        program = (binaries() / "etcd").resolve()
        storage.buildah("copy", "--chmod=0755", container, program, "/usr/local/bin/etcd")
        storage.buildah("commit", container, image)
    finally:
        storage.buildah("rm", container)
