"""A token bucket: so many a second, some of them at once after a pause."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ROUNDING = 1e-6
"""What sums of fractions may lack of a whole token."""


class TokenBucket:
    """Lets ``rate`` callers a second pass, and up to ``burst`` at once; the others wait in turn."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._tokens = burst
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a token, and take it."""
        async with self._turn:
            self._fill()
            while self._tokens < 1 - _ROUNDING:
                await self._sleep((1 - self._tokens) / self._rate)
                self._fill()
            self._tokens -= 1

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
