"""Ports for the programs that tests start, and start again."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
_RANGE = range(10_000, 20_000)
"""Below what Linux gives to outgoing connections (32768 and up): no passing connection takes a port while
its program is down. The local clusters and databases have theirs above 20000."""
_CHOICE = random.SystemRandom()
_GIVEN: set[int] = set()


def free_port(host: str = LOOPBACK) -> int:
    """A port that nobody listens at, and that nobody is given by chance.

    Nor is it given twice: who got it may not listen yet, or be down for a while.
    """
    while True:
        left = [port for port in _RANGE if port not in _GIVEN]
        port = _CHOICE.choice(left)
        _GIVEN.add(port)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
