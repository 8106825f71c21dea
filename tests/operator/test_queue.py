"""The work queue by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from globaltx.stores.kubernetes.errors import UnavailableError
from globaltx_operator.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def running(queue: WorkQueue[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_key_that_is_added_twice_is_worked_on_once() -> None:
    done: Counter[str] = Counter()
    last = asyncio.Event()

    async def work(key: str) -> None:
        done[key] += 1
        if key == "last":
            last.set()

    queue = WorkQueue(work, workers=1)
    for key in ("a", "b", "a", "a", "last"):
        queue.add(key)
    assert queue.depth == 3
    async with running(queue):
        await last.wait()
    assert done == {"a": 1, "b": 1, "last": 1}


async def test_one_key_has_one_worker_and_news_of_a_busy_key_are_not_lost() -> None:
    busy: Counter[str] = Counter()
    most: Counter[str] = Counter()
    went = asyncio.Event()
    calls = 0

    async def work(key: str) -> None:
        nonlocal calls
        calls += 1
        busy[key] += 1
        most[key] = max(most[key], busy[key])
        if calls == 1:
            queue.add(key)
            queue.add(key)
            await asyncio.sleep(0)
        busy[key] -= 1
        if calls == 2:
            went.set()

    queue = WorkQueue(work, workers=4)
    queue.add("a")
    async with running(queue):
        await went.wait()
        for _ in range(10):
            await asyncio.sleep(0)
    assert calls == 2
    assert most == {"a": 1}


async def test_many_keys_are_worked_on_at_once_but_not_more_than_workers() -> None:
    busy = most = 0
    full, release = asyncio.Event(), asyncio.Event()

    async def work(_: str) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        if busy == 3:
            full.set()
        await release.wait()
        busy -= 1

    queue = WorkQueue(work, workers=3)
    for number in range(10):
        queue.add(str(number))
    async with running(queue):
        await full.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert most == 3
        release.set()


async def test_a_key_comes_again_when_it_asked_for_it() -> None:
    calls = 0
    done = asyncio.Event()

    async def work(_: str) -> timedelta | None:
        nonlocal calls
        calls += 1
        if calls == 3:
            done.set()
            return None
        return timedelta(milliseconds=1)

    queue = WorkQueue(work)
    queue.add("a")
    async with running(queue):
        await asyncio.wait_for(done.wait(), 10)


@pytest.mark.parametrize("asks", [None, timedelta(hours=1)], ids=["asks for nothing", "asks for later"])
async def test_a_wish_that_is_made_while_a_key_is_worked_on_stands(asks: timedelta | None) -> None:
    calls = 0
    done = asyncio.Event()

    async def work(key: str) -> timedelta | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            queue.add_later(key, 0.001)
            return asks
        done.set()
        return None

    queue = WorkQueue(work)
    queue.add("a")
    async with running(queue):
        await asyncio.wait_for(done.wait(), 10)


async def test_of_two_wishes_the_sooner_stands_and_work_ends_both() -> None:
    calls = 0
    came, done = asyncio.Event(), asyncio.Event()

    async def work(key: str) -> None:
        nonlocal calls
        calls += 1
        came.set()
        if key == "last":
            done.set()

    queue = WorkQueue(work, workers=1)
    queue.add_later("a", 0.001)
    queue.add_later("a", 3600)
    async with asyncio.timeout(10), running(queue):
        await came.wait()
        queue.add_later("b", 0.002)
        queue.add("b")
        queue.add_later("last", 0.05)
        await done.wait()
    assert calls == 3


async def test_faults_and_bugs_of_one_key_do_not_hold_up_others_and_are_tried_again() -> None:
    calls: Counter[str] = Counter()
    done = asyncio.Event()

    async def work(key: str) -> None:
        calls[key] += 1
        if key == "faulty" and calls[key] < 3:
            message = "away"
            raise UnavailableError(message)
        if key == "buggy" and calls[key] < 2:
            raise ZeroDivisionError
        if calls["faulty"] == 3 and calls["buggy"] == 2:
            done.set()

    queue = WorkQueue(work, workers=1, chance=lambda: 0.0)
    for key in ("faulty", "buggy", "fine"):
        queue.add(key)
    async with running(queue):
        await asyncio.wait_for(done.wait(), 10)
    assert calls == {"faulty": 3, "buggy": 2, "fine": 1}
