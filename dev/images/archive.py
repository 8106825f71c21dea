"""Writing an image of a few files as an OCI archive, without any other program."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NAME = "org.opencontainers.image.ref.name"
_OCI = "application/vnd.oci.image"


def write_archive(archive: Path, name: str, files: Mapping[str, bytes], *, entrypoint: str) -> None:
    """Write an image of one layer that holds the files, all executable, under the name given."""
    layer = _tar(files, mode=0o755)
    blobs: dict[str, bytes] = {}
    packed = _add(blobs, gzip.compress(layer, mtime=0), f"{_OCI}.layer.v1.tar+gzip")
    config = _add(blobs, _json(_config(layer, entrypoint)), f"{_OCI}.config.v1+json")
    media = f"{_OCI}.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": [packed]}
    named = {"io.containerd.image.name": name, _NAME: name}
    index = {
        "schemaVersion": 2,
        "manifests": [{**_add(blobs, _json(manifest), media), "annotations": named}],
    }
    files_of_layout = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    archive.write_bytes(_tar(blobs | files_of_layout, mode=0o644))


def names_and_digests(archive: Path) -> set[tuple[str, str]]:
    """The images of an OCI archive; nothing for an archive of another kind."""
    try:
        with tarfile.open(archive) as tar:
            index = tar.extractfile("index.json")
            manifests = json.load(index)["manifests"] if index else []
        return {(entry["annotations"][_NAME], entry["digest"]) for entry in manifests}
    except (KeyError, OSError, tarfile.TarError, ValueError):
        return set()


def _config(layer: bytes, entrypoint: str) -> dict[str, Any]:
    machine = platform.machine()
    return {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": {"Entrypoint": [entrypoint]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }


def _add(blobs: dict[str, bytes], content: bytes, media: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


def _tar(files: Mapping[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            # Times and owners are left at zero: the same files make the same image.
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
