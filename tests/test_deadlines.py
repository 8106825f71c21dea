from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop

from globaltx.deadlines import Within, line_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG, SHORT = 3600.0, 0.02


async def forever() -> None:
    await asyncio.Event().wait()


async def bounded(seconds: float, what: Awaitable[object]) -> object:
    with Within(seconds):
        return await what


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def what_is_in_time_is_let_be() -> None:
    assert await bounded(LONG, asyncio.sleep(0, "done")) == "done"
    assert await bounded(SHORT, asyncio.sleep(0, "done")) == "done"


async def what_hangs_is_ended_and_no_more_is_cancelled() -> None:
    for _ in range(2):  # the second one finds no timer
        with pytest.raises(TimeoutError):
            await bounded(SHORT, forever())
        assert cancelling() == 0


async def no_time_at_all_is_enough_for_what_does_not_wait() -> None:
    async def at_once() -> str:
        return "done"

    assert await bounded(0, at_once()) == "done"
    with pytest.raises(TimeoutError):
        await bounded(0, forever())


async def each_ends_when_it_is_late_itself() -> None:
    over = asyncio.Event()
    first = asyncio.create_task(bounded(SHORT, over.wait()))
    waiting = [asyncio.create_task(bounded(LONG, over.wait())) for _ in range(3)]
    late = [asyncio.create_task(bounded(SHORT, forever())) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()  # the timer was set for this one
    found = await asyncio.gather(*late, return_exceptions=True)
    assert [type(each) for each in found] == [TimeoutError] * 3
    over.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert first.cancelled()


class Fails:
    """What cannot end as it should."""

    def end(self) -> None:
        message = "it cannot end"
        raise ValueError(message)


async def one_that_fails_at_its_end_leaves_the_others_their_bounds() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(str(context.get("exception"))))
    line = line_of(loop, SHORT)
    for _ in range(2):
        line.begin(Fails())
    late = asyncio.create_task(bounded(SHORT, forever()))
    with pytest.raises(TimeoutError):
        await late
    assert told == ["it cannot end"] * 2


async def the_inner_one_of_two_may_be_late() -> None:
    async def outer() -> str:
        with pytest.raises(TimeoutError):
            await bounded(SHORT, forever())
        return "went on"

    assert await bounded(LONG, outer()) == "went on"


async def the_outer_one_of_two_may_be_late() -> None:
    with pytest.raises(TimeoutError):
        await bounded(SHORT, bounded(LONG, forever()))
    assert cancelling() == 0


async def whoever_is_cancelled_is_not_late() -> None:
    task = asyncio.create_task(bounded(LONG, forever()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def an_error_on_the_way_out_is_told() -> None:
    async def fails() -> None:
        try:
            await forever()
        finally:
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        await bounded(SHORT, fails())
    assert cancelling() == 0


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "what",
    [
        what_is_in_time_is_let_be,
        what_hangs_is_ended_and_no_more_is_cancelled,
        no_time_at_all_is_enough_for_what_does_not_wait,
        each_ends_when_it_is_late_itself,
        one_that_fails_at_its_end_leaves_the_others_their_bounds,
        the_inner_one_of_two_may_be_late,
        the_outer_one_of_two_may_be_late,
        whoever_is_cancelled_is_not_late,
        an_error_on_the_way_out_is_told,
    ],
)
def test_on_both_loops(what: Callable[[], Awaitable[None]], run: Callable[[Awaitable[None]], None]) -> None:
    async def bound() -> None:
        async with asyncio.timeout(60):
            await what()

    run(bound())


def test_only_a_task_is_bounded() -> None:
    with pytest.raises(RuntimeError), Within(1):
        pass
