"""How many requests are under way, over all connections, and when there is none."""

from __future__ import annotations

import asyncio

REQUESTS_MAX = 4096
"""How many there may be at a time."""


class UnderWay:
    """Counts requests; `idle` is set while there is none."""

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def full(self) -> bool:
        """Whether no more are taken."""
        return self.count >= REQUESTS_MAX

    def enter(self) -> None:
        """One more is under way."""
        self.count += 1
        self.idle.clear()

    def leave(self) -> None:
        """One is over."""
        self.count -= 1
        if not self.count:
            self.idle.set()
