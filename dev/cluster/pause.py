"""The image that holds a pod's namespaces, made here because the cluster pulls from no registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dev.cluster import configs, node
from dev.cluster.binaries import binaries
from dev.images.archive import write_archive

if TYPE_CHECKING:
    from dev.cluster.state import Settings


def load(settings: Settings) -> None:
    """Bring the image into the node unless it is there."""
    if configs.PAUSE_IMAGE in node.images(settings):
        return
    program = (binaries() / "pause").read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "pause.tar"
        write_archive(archive, configs.PAUSE_IMAGE, {"pause": program}, entrypoint="/pause")
        node.load_image(settings, archive)
