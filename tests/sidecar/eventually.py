from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something is true of values that no event tells of."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(0.002)
