"""Installing the Debian packages that a tool needs, only when they are missing."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.folders import cache_root, locked
from dev.progress import step
from dev.shell import CommandError, follow, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NODE = ("containerd", "runc", "containernetworking-plugins", "iproute2", "iptables", "kmod", "nftables")
IMAGES = ("buildah", "debootstrap", "ca-certificates")
MARIADB = ("mariadb-server",)
MYSQL = ("debootstrap",)  # which fetches the rest
CLOCKS = ("libfaketime",)
PHP = ("php-cli",)
GROUPS = {"node": NODE, "images": IMAGES, "mariadb": MARIADB, "mysql": MYSQL, "clocks": CLOCKS, "php": PHP}

_SECONDS = 1200
_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBIDS_SERVICES = "#!/bin/sh\nexit 101\n"


def ensure(packages: Sequence[str], purpose: str) -> None:
    """Install those of the packages that are missing; quick when none is."""
    missing = _missing(packages)
    if not missing:
        return
    _check_can_install(missing, purpose)
    with locked(cache_root() / "install.lock"):
        missing = _missing(packages)
        if missing:
            _install(missing, purpose)


def can() -> bool:
    """Whether this is a machine, and a user, to install packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _missing(packages: Sequence[str]) -> list[str]:
    if shutil.which("dpkg-query") is None:
        return list(packages)
    try:
        said = run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages)
    except CommandError as unknown:
        # It names the packages that it knows, and fails for those that it does not.
        said = unknown.said
    installed = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    return [package for package in packages if package not in installed]


def _check_can_install(missing: Sequence[str], purpose: str) -> None:
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        message = (
            f"{purpose} needs what Debian packages as: {names}. Without apt-get, install these yourself."
        )
        raise ToolError(message)
    if os.geteuid() != 0:
        message = f"{purpose} needs packages, and only root may install them: sudo apt-get install {names}"
        raise ToolError(message)


def _install(missing: Sequence[str], purpose: str) -> None:
    with step(f"install {' '.join(missing)} (for {purpose})") as installing, _services_stay_down():
        for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *missing)):
            follow(
                "apt-get",
                "-o",
                "DPkg::Lock::Timeout=600",
                *arguments,
                env={"DEBIAN_FRONTEND": "noninteractive"},
                on_line=installing.tell,
                timeout=_SECONDS,
            )


@contextmanager
def _services_stay_down() -> Iterator[None]:
    # The packages start daemons of their own; ours run with their own folders and ports.
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_FORBIDS_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Install the groups named, or all: `python -m dev.install [node|images|mariadb|mysql ...]`."""
    unknown = set(arguments) - set(GROUPS)
    if unknown:
        print(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    try:
        for group in arguments or GROUPS:
            ensure(GROUPS[group], group)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
