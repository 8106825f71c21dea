"""What can go wrong at each step of a mode that works by calls, as faults of what stands before one app."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dev.waiting import wait_for
from tests.sidecar.bank.between import answered, lost_answer, lost_request, repeated

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sidecar.bank.between import Answer, Between
    from tests.sidecar.programs import Program, SidecarProgram

T = TypeVar("T")
STEPS = ("try", "confirm", "cancel")
QUERIES = {"try": "", "confirm": "", "cancel": "?fail"}
MOMENT_SECONDS = 120.0


class Participant(Protocol):
    """Whom faults happen to."""

    service: Program
    sidecar: SidecarProgram
    between: Between


class Staged(Protocol):
    """A sample in which they happen; ``a`` is the participant that they happen to."""

    service: Program
    sidecar: SidecarProgram
    operator: Program
    betweens: tuple[Between, ...]

    @property
    def a(self) -> Participant:
        """The participant."""

    def outcomes(self) -> dict[str, str]:
        """The transactions that there are, each with its outcome or an empty text."""

    def rolled_back(self, undecided: set[str]) -> bool:
        """Whether the youngest of these transactions has the outcome Rollback."""


@dataclass(frozen=True)
class Case:
    """A fault, by its name; ``victim`` is killed by it, ``before`` or after the bank has done the step."""

    name: str
    fault: Any = None
    victim: Callable[[Staged], Program] | None = None
    before: bool = True
    times: int = 1


class Hit:
    """A fault that tells when it was met, and what it killed."""

    def __init__(self, banks: Staged, step: str, case: Case) -> None:
        self._banks, self._step, self._case = banks, step, case
        self.met = threading.Event()
        self.killed: Program | None = None

    def __call__(self, forward: Callable[[], Answer]) -> Answer | None:
        try:
            return self._act(forward)
        finally:
            self.met.set()

    def _act(self, forward: Callable[[], Answer]) -> Answer | None:
        if self._case.victim is None:
            answer: Answer | None = self._case.fault(forward, self._banks, self._step)
            return answer
        answer = None if self._case.before else forward()
        self.killed = self._case.victim(self._banks)
        self.killed.kill()
        return forward() if self._case.before else answer


def meet(staged: Staged, step: str, case: Case, act: Callable[[], T]) -> T:
    """Act while the participant's next ``step`` meets the case; what it has killed runs again on return.

    Of a fault that happens several times, a step that is not made again meets the first only.
    """
    for between in staged.betweens:
        between.clear()
    hits = [Hit(staged, step, case) for _ in range(case.times)]
    for hit in hits:
        staged.a.between.fault(step, hit)
    done = act()
    assert hits[0].met.wait(MOMENT_SECONDS), f"the {step} never came"
    if hits[0].killed is not None:
        hits[0].killed.start(60)
    return done


def slow(forward: Callable[[], Answer], banks: Staged, step: str) -> Answer | None:
    """A first request that goes through once all is decided; a call that is made again meanwhile."""
    if step in {"try", "step"}:
        known = set(banks.outcomes())
        wait_for("the deadline", lambda: banks.rolled_back(known), seconds=MOMENT_SECONDS, every=0.1)
    else:
        calls = banks.a.between.calls
        wait_for("the call to be made again", lambda: calls[step] > 1, seconds=MOMENT_SECONDS, every=0.02)
    return forward()


def plain(fault: Any) -> Any:
    """A fault that looks at nothing but the request."""
    return lambda forward, _banks, _step: fault(forward)


VICTIMS: dict[str, Callable[[Staged], Program]] = {
    "the participant": lambda banks: banks.a.service,
    "the participant's sidecar": lambda banks: banks.a.sidecar,
    "the initiator": lambda banks: banks.service,
    "the initiator's sidecar": lambda banks: banks.sidecar,
    "the operator": lambda banks: banks.operator,
}
CASES = (
    Case("nothing", plain(lambda forward: forward())),
    Case("the request is lost", plain(lost_request)),
    Case("the answer is lost", plain(lost_answer)),
    Case("slow", slow),
    Case("repeated", plain(repeated)),
    Case("answered 404, 3 times", plain(answered(404)), times=3),
    Case("answered 500, 3 times", plain(answered(500)), times=3),
    *(
        Case(f"{name} is killed {'before' if before else 'after'} it", None, victim, before=before)
        for name, victim in VICTIMS.items()
        for before in (True, False)
    ),
)
