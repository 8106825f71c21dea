"""Where the tools keep things: what can be made again in the cache, what runs in the state."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def cache_root() -> Path:
    """The folder of what is built once a machine: $GLOBALTX_CACHE or the user's cache."""
    given = os.environ.get("GLOBALTX_CACHE")
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(base) / "globaltx").absolute()


def state_root() -> Path:
    """The folder of what runs: $GLOBALTX_STATE, /var/lib/globaltx, or the cache of a user who is not root."""
    given = os.environ.get("GLOBALTX_STATE")
    if given:
        return Path(given).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/globaltx")
    return cache_root() / "state"


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; the kernel gives it back even after a kill -9."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Its last holder may have removed the file: then the lock is on nothing.
            if _is_same(handle.fileno(), lock):
                yield
                return


def _is_same(descriptor: int, file: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == file.stat().st_ino
    except FileNotFoundError:
        return False
