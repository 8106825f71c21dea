"""MySQL's programs and libraries, unpacked into the cache: nothing of them is installed or mounted.

debootstrap finds, checks and downloads the packages with all that they depend on. They are only
unpacked, and run by the dynamic loader and the libraries that came with them, so that there is
nothing to mount, to enter or to clean up after, whenever somebody is killed.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from dev import install
from dev.errors import ToolError
from dev.folders import cache_root, locked
from dev.images import debian
from dev.progress import Step, step
from dev.shell import follow, run

SUITE = "sid"
PACKAGES = ("mysql-client-core", "mysql-server-core")
"""The only suite of Debian that has them; its version moves on, and what is in the cache stays."""
_UNPACKED = ("lib*.deb", "zlib*.deb", "mysql-*.deb")
_KEPT = ("usr/bin/mysql", "usr/lib", "usr/sbin/mysqld", "usr/share/mysql")
_LOADERS = "usr/lib/*/ld-linux*.so.*"
_SECONDS = 1800


def folder() -> Path:
    """Where they are; the name changes with what is asked for."""
    inputs = json.dumps([SUITE, PACKAGES, _UNPACKED, _KEPT])
    return cache_root() / "mysql" / hashlib.sha256(inputs.encode()).hexdigest()[:12]


def command(program: str) -> list[str]:
    """How a program is called; in the list of processes it goes by its own name.

    Raises:
        ToolError: it is not there.
    """
    root, name = folder(), Path(program).name
    if not (root / name).exists():
        message = f"{root / program} is missing; remove {root} and bring the database up again"
        raise ToolError(message)
    # What `name` links to is the loader; it takes the program as an argument.
    libraries, path = (root / name).resolve().parent, root / program
    return [str(word) for word in (root / name, "--library-path", libraries, "--argv0", path, path)]


def ensure() -> None:
    """Fetch and unpack them, once a machine."""
    if folder().exists():
        return
    install.ensure(install.MYSQL, "MySQL")
    with locked(folder().with_suffix(".lock")):
        if not folder().exists():
            with step(f"fetch {' '.join(PACKAGES)} of Debian {SUITE} (once a machine)") as fetching:
                _make(fetching)


def _make(fetching: Step) -> None:
    with tempfile.TemporaryDirectory(dir=folder().parent, prefix="fetching-") as scratch:
        archives, unpacked, kept = (Path(scratch) / name for name in ("archives", "unpacked", "kept"))
        _download(archives, fetching)
        for archive in _archives(archives):
            fetching.tell(f"unpack {archive.name}")
            run("dpkg-deb", "--extract", archive, unpacked, timeout=_SECONDS)
        for path in _KEPT:
            (kept / path).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / path).rename(kept / path)
        loader = next(kept.glob(_LOADERS)).relative_to(kept)
        for path in _KEPT:
            if (kept / path).is_file():
                (kept / Path(path).name).symlink_to(loader)
        kept.rename(folder())


def _archives(root: Path) -> list[Path]:
    return [file for pattern in _UNPACKED for file in sorted(root.glob(f"var/cache/apt/archives/{pattern}"))]


def _download(root: Path, fetching: Step) -> None:
    mirror = debian.mirror(SUITE)
    follow(
        "debootstrap",
        "--download-only",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        root,
        *([mirror] if mirror else []),
        on_line=fetching.tell,
        timeout=_SECONDS,
    )
