"""A work queue by key: many keys at once, one worker a key, nothing lost, nothing done twice in vain.

A key that is added while it waits is there once; one that is added while it is worked on is worked
on again afterwards, and a wish for later that is made meanwhile stands. A failure comes again with
growing, jittered delay. Memory is bounded by the number of keys.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter, deque
from typing import TYPE_CHECKING, Generic, TypeVar

from globaltx.stores.kubernetes.errors import ConflictError, KubernetesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from datetime import timedelta

WORKERS = 16
BACKOFF_FIRST = 0.2
BACKOFF_MOST = 60.0

_log = logging.getLogger(__name__)

Key = TypeVar("Key", bound="Hashable")


class WorkQueue(Generic[Key]):
    """Calls ``work(key)``, which may return how soon it wants to be called again without news."""

    def __init__(
        self,
        work: Callable[[Key], Awaitable[timedelta | None]],
        *,
        workers: int = WORKERS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._work = work
        self._workers = workers
        self._chance = chance
        self._waiting: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: Counter[Key] = Counter()
        self._news = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many keys wait for a worker or have one."""
        return len(self._queued) + len(self._busy)

    def add(self, key: Key) -> None:
        """Let the key be worked on as soon as a worker is free."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._waiting.append(key)
            self._news.set()

    def add_later(self, key: Key, seconds: float) -> None:
        """Let the key be worked on after that time, unless an earlier wish comes sooner."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is None or timer.when() > loop.time() + seconds:
            self._cancel_timer(key)
            self._timers[key] = loop.call_later(seconds, self._due, key)

    async def run(self) -> None:
        """Work until cancelled; the queue cannot be used afterwards."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._serve(), name=f"worker {number}")
        finally:
            for key in tuple(self._timers):
                self._cancel_timer(key)

    def _due(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def _serve(self) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            key = self._waiting.popleft()
            self._queued.discard(key)
            self._busy.add(key)
            self._cancel_timer(key)  # this is what was wished for; what is wished from now on stands
            try:
                await self._once(key)
            finally:
                self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _once(self, key: Key) -> None:
        try:
            after = await self._work(key)
        except KubernetesError as error:
            self._failed(key, error)
        except Exception as error:  # noqa: BLE001  one object that shows a bug must not hold up the others
            _log.exception("a bug: %s cannot be worked on", key)
            self._failed(key, error)
        else:
            del self._failures[key]
            if after is not None:
                self.add_later(key, after.total_seconds())

    def _failed(self, key: Key, error: Exception) -> None:
        self._failures[key] += 1
        grown = min(BACKOFF_FIRST * 2.0 ** min(self._failures[key] - 1, 16), BACKOFF_MOST)
        delay = grown * (0.5 + self._chance() / 2)
        level = logging.INFO if isinstance(error, ConflictError) else logging.WARNING
        _log.log(level, "%s: %s; again in %.1f s", key, error, delay)
        self.add_later(key, delay)
