"""The token bucket by its own clock."""

from __future__ import annotations

import asyncio

from globaltx_operator.rate import TokenBucket


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    time = Time()
    bucket = TokenBucket(10, 3, clock=time, sleep=time.sleep)
    passed = []
    for _ in range(7):
        await bucket.take()
        passed.append(round(time.now - 100, 3))
    assert passed == [0, 0, 0, 0.1, 0.2, 0.3, 0.4]


async def test_a_pause_fills_it_up_to_the_burst_and_no_further() -> None:
    time = Time()
    bucket = TokenBucket(10, 2, clock=time, sleep=time.sleep)
    time.now += 3600
    started = time.now
    await asyncio.gather(*(bucket.take() for _ in range(4)))
    assert round(time.now - started, 3) == 0.2
