"""Choosing ports of our own, so that any number of clusters run side by side."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from dev.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

# Below the ports that Linux gives to outgoing connections (32768 and up) and
# the node ports of Kubernetes (30000 to 32767): a port chosen here is not
# taken by a passing connection while its cluster is down.
RANGE = range(21000, 29000)


def choose_ports(
    names: Sequence[str],
    wanted: Mapping[str, int],
    taken: Collection[int],
    is_free: Callable[[int], bool],
    among: Sequence[int] = RANGE,
) -> dict[str, int]:
    """Give each name the port it had if that is still free, else the next free one."""
    chosen: dict[str, int] = {}
    used = set(taken)
    for name in names:
        port = wanted.get(name)
        if port is None or port in used or not is_free(port):
            port = _next_free(used, is_free, among)
        chosen[name] = port
        used.add(port)
    return chosen


def _next_free(used: Collection[int], is_free: Callable[[int], bool], among: Sequence[int]) -> int:
    for port in among:
        if port not in used and is_free(port):
            return port
    message = f"no port from {min(among)} to {max(among)} is free; end programs that listen there"
    raise ToolError(message)


def by_chance(among: Sequence[int]) -> Sequence[int]:
    """Put ports into an order of this run alone, so that none is taken that another has left for a while."""
    return random.SystemRandom().sample(among, len(among))


def is_free(port: int) -> bool:
    """Whether nothing listens on the port at any address of this machine."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if probe.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("", port))
        except OSError:
            return False
    return True
