"""Waiting between attempts: growing, spread out, bounded."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from globaltx.stores.base import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

FIRST_SECONDS = 0.05
CEILING_SECONDS = 30.0


def delay_after(
    failures: int,
    spread: float,
    first_seconds: float = FIRST_SECONDS,
    ceiling_seconds: float = CEILING_SECONDS,
) -> float:
    """How many seconds to wait after so many failures in a row (from 1).

    Doubles up to the ceiling; ``spread`` in [0, 1) takes up to half of it away, so that many
    who failed together do not come back together.
    """
    grown = min(ceiling_seconds, first_seconds * 2.0 ** min(failures - 1, 32))
    return grown * (1.0 - spread / 2)


async def insist(call: Callable[[], Awaitable[T]], bound_seconds: float) -> T:
    """Repeat a call of a store while it is not available, for a bounded time.

    Raises:
        StoreUnavailableError: it did not succeed within the time; it may or may not have happened.
    """
    failures = 0
    last: StoreUnavailableError | None = None
    try:
        async with asyncio.timeout(bound_seconds):
            while True:
                try:
                    return await call()
                except StoreUnavailableError as error:
                    failures, last = failures + 1, error
                await asyncio.sleep(delay_after(failures, random.random(), ceiling_seconds=1.0))  # noqa: S311  jitter
    except TimeoutError:
        message = f"no answer within {bound_seconds:g} s ({last or 'the call hung'})"
        raise StoreUnavailableError(message) from last
