"""A saga that is declared as a whole: its steps, what each asks for, and how far each has come.

The plan stands in the transaction and never changes; the progress of a step stands in its branch, and
is written down before and after each call, so that any process can take over at any time.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx.transaction.calls import DEFAULT_CALL_TIMEOUT, DEFAULT_REFUSALS
from globaltx.values import dataclass

if TYPE_CHECKING:
    from datetime import datetime

STEPS_MAX = 32
URL_LENGTH_MAX = 2048
BODY_LENGTH_MAX = 16 * 1024
HEADERS_MAX = 16
HEADER_LENGTH_MAX = 1024
RESULT_BYTES_MAX = 16 * 1024
"""How much of an answer is kept for later steps; a larger one is done, and not kept."""
PROBLEM_LENGTH_MAX = 400
DEFAULT_STATUSES = frozenset({200, 201, 204})
DEFAULT_ATTEMPTS = 3
DEFAULT_BACKOFF = timedelta(seconds=1)
DEFAULT_BACKOFF_MAX = timedelta(seconds=60)


class Recovery(StrEnum):
    """What is done about a step that fails."""

    BACKWARD = "Backward"
    """What was done is taken back."""
    FORWARD = "Forward"
    """It is repeated until it is done."""


class StepState(StrEnum):
    """How a step stands, as its branch tells."""

    WAITING = "Waiting"
    """It was never called."""
    CALLED = "Called"
    """A call is out, or its answer was lost with whoever made it."""
    RETRYING = "Retrying"
    """The last call was not done; the next has its time."""
    DONE = "Done"
    REFUSED = "Refused"
    """Its application has said no."""
    UNANSWERED = "Unanswered"
    """No call was answered in a way that tells what became of it, and none is made any more."""
    COMPENSATED = "Compensated"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request; ``url``, the values of ``headers`` and the strings in ``body`` (JSON text) are templates."""

    url: str
    method: str = "POST"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a step is called before it has failed, and how long is waited in between."""

    attempts: int = DEFAULT_ATTEMPTS
    first: timedelta = DEFAULT_BACKOFF
    most: timedelta = DEFAULT_BACKOFF_MAX

    def after(self, attempt: int, chance: float) -> timedelta:
        """How long to wait after the n-th call; ``chance`` is in [0, 1).

        At least half of the growing time, at random up to all of it: steps that failed together, because
        what they call was away, must not come back together.
        """
        doubled: int = 2 ** min(max(attempt - 1, 0), 20)
        return min(self.most, self.first * doubled) * (0.5 + chance / 2)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: what is called to do it and, unless nothing takes it back, to compensate it."""

    name: str
    request: Exchange
    compensation: Exchange | None = None
    depends_on: tuple[str, ...] = ()
    retry: Retry = Retry()
    timeout: timedelta = DEFAULT_CALL_TIMEOUT
    success_statuses: frozenset[int] = DEFAULT_STATUSES
    refusals_max: int = DEFAULT_REFUSALS
    pivot: bool = False


@dataclass(frozen=True, slots=True)
class SagaPlan:
    """The whole of it."""

    steps: tuple[StepPlan, ...]
    recovery: Recovery = Recovery.BACKWARD

    @property
    def pivot(self) -> StepPlan | None:
        """The step that separates what is taken back from what is carried through; None: there is none."""
        return next((each for each in self.steps if each.pivot), None)


@dataclass(frozen=True, slots=True)
class Attempts:
    """The calls of one operation so far; ``problem`` tells of the last, ``next_at`` when another may be made.

    ``refusals`` are those in a row, ``status`` is 0 where there was no answer.
    """

    count: int = 0
    called_at: datetime | None = None
    next_at: datetime | None = None
    status: int = 0
    refusals: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come.

    ``result`` is the JSON text of its answer (empty: none is kept), ``place`` its place among the steps
    that were done, ``heeded`` the number of the last decision of a person that a call was made for,
    ``guarded`` how many of the step's calls carried its guard.
    """

    state: StepState = StepState.WAITING
    step: Attempts = Attempts()
    compensation: Attempts = Attempts()
    result: str = ""
    place: int = 0
    heeded: int = 0
    guarded: int = 0
