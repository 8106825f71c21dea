from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from globaltx.stores.kubernetes.clock import ServerClock

TRUE = datetime(2025, 1, 31, 12, 0, 0, 300_000, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)


class Machine:
    """One whose clock is wrong by so much."""

    def __init__(self, wrong: timedelta) -> None:
        self.wrong = wrong
        self.true = TRUE
        self.clock = ServerClock(lambda: self.true + self.wrong)

    def answer(self, delay: float = 0.0) -> None:
        """The server answers, and that is read so many seconds later."""
        date = format_datetime(self.true, usegmt=True)
        self.true += timedelta(seconds=delay)
        self.clock.heard(date)

    @property
    def error(self) -> timedelta:
        return abs(self.clock.now() - self.true)


@pytest.mark.parametrize("wrong", [TEN_MINUTES, -TEN_MINUTES, timedelta(seconds=5), timedelta(days=-400)])
def test_a_clock_that_is_wrong_is_put_right_by_the_first_answer(wrong: timedelta) -> None:
    machine = Machine(wrong)
    assert machine.error == abs(wrong)
    machine.answer()
    assert machine.error < timedelta(seconds=1)


@pytest.mark.parametrize("seconds", [-1.2, 0.0, 1.2])
def test_a_clock_in_step_is_believed(seconds: float) -> None:
    machine = Machine(timedelta(seconds=seconds))
    for _ in range(20):
        machine.answer()
        machine.true += timedelta(seconds=0.37)
        assert machine.clock.ahead == timedelta()


def test_an_answer_that_was_read_late_moves_nothing() -> None:
    machine = Machine(TEN_MINUTES)
    machine.answer()
    for _ in range(5):
        machine.answer(delay=9)
        assert machine.error < timedelta(seconds=1)


def test_a_clock_that_is_set_anew_is_followed() -> None:
    machine = Machine(-TEN_MINUTES)
    machine.answer()
    machine.wrong = timedelta()
    for _ in range(8):
        machine.answer()
    assert machine.clock.ahead == timedelta()
    machine.wrong = -TEN_MINUTES
    machine.answer()
    assert machine.error < timedelta(seconds=1)


@pytest.mark.parametrize("date", [None, "", "yesterday", "2025-01-31T12:00:00Z", "Fri, 31 Jan 2025 12:00:00"])
def test_what_is_no_date_says_nothing(date: str | None) -> None:
    clock = ServerClock(lambda: TRUE)
    clock.heard(date)
    assert clock.now() == TRUE
