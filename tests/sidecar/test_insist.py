from __future__ import annotations

import asyncio

import pytest

from globaltx.stores.base import StoreRefusedError, StoreUnavailableError
from globaltx_sidecar.insist import insist


async def test_a_call_is_repeated_while_the_store_is_away() -> None:
    calls = 0

    async def call() -> int:
        nonlocal calls
        calls += 1
        if calls < 3:
            message = "away"
            raise StoreUnavailableError(message)
        return calls

    assert await insist(call, 10) == 3


async def test_the_last_fault_is_told_when_the_time_is_over() -> None:
    async def call() -> None:
        message = "connection refused"
        raise StoreUnavailableError(message)

    with pytest.raises(StoreUnavailableError, match="connection refused"):
        await insist(call, 0.05)


async def test_a_call_that_hangs_is_given_up() -> None:
    with pytest.raises(StoreUnavailableError, match="hung"):
        await insist(asyncio.Event().wait, 0.05)


async def test_a_refusal_is_not_repeated() -> None:
    calls = 0

    async def call() -> None:
        nonlocal calls
        calls += 1
        message = "forbidden"
        raise StoreRefusedError(message)

    with pytest.raises(StoreRefusedError):
        await insist(call, 10)
    assert calls == 1
