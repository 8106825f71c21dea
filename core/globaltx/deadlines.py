"""Bounds on how long something may take, of which many are set and hardly one is reached.

What has the same bound is late in the order in which it began. So one timer, for the oldest, does for all;
``asyncio.timeout`` sets one for each, which takes 5 µs, several times in each call of a store.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Bounded(Protocol):
    """What may be late."""

    def end(self) -> None:
        """Time is up."""


class Within:
    """``with Within(seconds):`` bounds what is awaited in it as ``async with asyncio.timeout(seconds)`` does.

    Raises:
        TimeoutError: it has taken longer.
    """

    __slots__ = ("_cancelling", "_late", "_line", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late = False

    def __enter__(self) -> None:
        """Begin; a task must be running."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            message = "only what a task does can be bounded"
            raise RuntimeError(message)
        self._task, self._cancelling = task, task.cancelling()
        self._line = line_of(loop, self._seconds)
        self._line.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a cancellation that somebody else has asked for goes on as one."""
        if not self._late:
            del self._line.under_way[self]
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def end(self) -> None:
        """Time is up."""
        self._late = True
        self._task.cancel()


class Line:
    """What is under way with one bound, the oldest first."""

    __slots__ = ("_loop", "_seconds", "_timer", "under_way")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.under_way: dict[Bounded, float] = {}
        """Until when."""
        self._loop = loop
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, each: Bounded) -> None:
        """Count its time from now on; delete it from ``under_way`` when it is over."""
        until = self.under_way[each] = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        late = []
        for each, until in self.under_way.items():
            if until > now:
                self._timer = self._loop.call_at(until, self._ring)
                break
            late.append(each)
        for each in late:
            if self.under_way.pop(each, None) is not None:  # the end of one may be that of another, too
                self._end(each)

    def _end(self, each: Bounded) -> None:
        """End one; if it fails the others are late all the same, and may have no timer any more."""
        try:
            each.end()
        except Exception as error:  # noqa: BLE001  the loop is told, as of any callback
            told = {"message": "what took too long could not be ended", "exception": error}
            self._loop.call_exception_handler(told)


@lru_cache(32)
def line_of(loop: asyncio.AbstractEventLoop, seconds: float) -> Line:
    """The one of a loop for this bound, in seconds."""
    return Line(loop, seconds)
