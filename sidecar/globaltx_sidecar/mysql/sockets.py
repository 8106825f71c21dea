"""What is asked of the kernel for single sockets; nothing where it does not know it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds idle before the first probe, seconds between probes, probes that may stay unanswered."""
_QUICK_ACK: Final = getattr(socket, "TCP_QUICKACK", None)


def keep_alive(transport: asyncio.Transport) -> None:
    """Find out that a database's machine is gone, which an idle connection would never notice."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def acknowledge_now(transport: asyncio.Transport) -> None:
    """Acknowledge a command that gets no answer.

    A client whose kernel delays small writes (Nagle) would hold its next command back
    until then, for as long as 40 ms.
    """
    if _QUICK_ACK is not None:
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
