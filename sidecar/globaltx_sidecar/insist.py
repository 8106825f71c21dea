"""Repeating a call of a store while it is not available."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from globaltx.deadlines import Within
from globaltx.stores.base import StoreUnavailableError
from globaltx.stores.kubernetes.watcher import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_STORE = Backoff(first=0.05, most=1.0)


async def insist(call: Callable[[], Awaitable[T]], bound_seconds: float) -> T:
    """Repeat a call of a store while it is not available, for a bounded time.

    Raises:
        StoreUnavailableError: it did not succeed within the time; it may or may not have happened.
    """
    failures = 0
    last: StoreUnavailableError | None = None
    try:
        with Within(bound_seconds):
            while True:
                try:
                    return await call()
                except StoreUnavailableError as error:
                    failures, last = failures + 1, error
                await asyncio.sleep(_STORE.delay(failures, random.random()))  # noqa: S311  jitter
    except TimeoutError:
        message = f"no answer within {bound_seconds:g} s ({last or 'the call hung'})"
        raise StoreUnavailableError(message) from last
