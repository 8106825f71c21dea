"""What a cluster that runs pods asks of the machine, checked before anything is started."""

from __future__ import annotations

import os
import sys

from dev import install
from dev.cluster.state import Mode, clusters, state_folder
from dev.errors import ToolError

# A socket's path has to fit into 108 bytes; the longest of ours ends like this.
_LONGEST_SOCKET = "/run/containerd.sock.ttrpc"
_SOCKET_PATH = 107


def missing_for_full(name: str) -> str | None:
    """Why this machine cannot run a cluster in full mode, or None when it can."""
    if sys.platform != "linux":
        return "pods need Linux; only --mode control-plane runs here"
    if os.geteuid() != 0:
        return "pods need root (namespaces, mounts, a bridge); run as root or use --mode control-plane"
    if len(f"{state_folder(name)}{_LONGEST_SOCKET}") > _SOCKET_PATH:
        return f"{state_folder(name)} is too long a path for sockets; set GLOBALTX_STATE to a shorter one"
    others = [held.name for held in clusters() if held.mode is Mode.FULL and held.name != name]
    if others:
        return (
            f"the cluster {others[0]!r} already runs pods, and a machine has one network for them; "
            f"`python -m dev.cluster down --name {others[0]}` frees it"
        )
    return None


def check_full(name: str) -> None:
    """Refuse what cannot work, and install what is missing."""
    check_machine(name)
    install.ensure(install.NODE, "running pods")


def check_machine(name: str) -> None:
    """Refuse what cannot work on this machine as it is."""
    reason = missing_for_full(name)
    if reason:
        raise ToolError(reason)
