"""What every replica sees to again and again, and waits out when it does not succeed."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from globaltx.stores.kubernetes.watcher import Backoff


async def go_round(
    act: Callable[[], Awaitable[None]],
    interval_seconds: float,
    passing: tuple[type[Exception], ...],
    backoff: Backoff,
    tell: Callable[[Exception, float], None],
) -> None:
    """Act, wait, and so on until cancelled; a ``passing`` fault is told and waited out with growing delay.

    ``tell`` is given the fault, and the seconds until the next time.
    """
    faults = 0
    while True:
        try:
            await act()
        except passing as error:
            faults += 1
            delay = backoff.delay(faults, random.random())  # noqa: S311  jitter
            tell(error, delay)
        else:
            faults, delay = 0, interval_seconds
        await asyncio.sleep(delay)
