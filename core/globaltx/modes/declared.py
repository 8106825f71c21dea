"""Declared saga: from what is known of its steps to what is to be done next; pure, no clock, no IO.

The outcome is the pivot of it all. Until it is taken, steps are called as their dependencies allow. A step
that fails takes Rollback; when all are done, or the step that is marked as the pivot is, Commit is taken.
With recovery Forward it is taken before the first step. From then on the outcome is carried out like any
other: on Commit the steps that are left are called until they are done, on Rollback those that were called
are compensated, last done first, and each before what it depends on.

So each step is a branch, and all of them are registered before the outcome can be Commit: nobody can
call it the end while a step is missing. What must never happen:

* a step that is known to be done is called again;
* a call goes out that is not written down before, so that whoever takes over knows of it;
* a step is compensated while its call may still be under way (`Attempts.next_at` is not over);
* the pivot is left alone while its answer is not known: it is called until it is. Before the first
  of these calls a mark is set in the transaction, after which no deadline may take Rollback.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.modes import tcc
from globaltx.modes.declaring import ancestors
from globaltx.modes.saga import STANDS
from globaltx.modes.tcc import CALL_REFUSED, Operation, Verdict
from globaltx.modes.templates import MissingError, TemplateError, Values, filled
from globaltx.transaction.calls import Calls
from globaltx.transaction.conflict import CarriedOut, Remedy, in_all, resolution_of
from globaltx.transaction.declared import (
    PROBLEM_LENGTH_MAX,
    Attempts,
    Progress,
    Recovery,
    Retry,
    StepState,
)
from globaltx.transaction.model import Decision, Settlement, shorten
from globaltx.transaction.states import END_OF, ENDS, Outcome, State
from globaltx.undo.refusal import RESOLVED_BY_PERSON
from globaltx.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from globaltx.transaction.declared import Exchange, SagaPlan, StepPlan
    from globaltx.transaction.model import Branch, GlobalTransaction

SAGA_COMPLETED = "SagaCompleted"
SAGA_FORWARD = "SagaForward"
STEP_FAILED = "StepFailed"
STEP_UNKNOWN = "StepUnknown"
TEMPLATE_FAILED = "TemplateFailed"
"""Reasons of outcomes and conflicts; ``globaltx.coordinator.reasons`` has a sentence for each."""

LATE_GRACE = timedelta(seconds=2)
"""How much longer than its time-out a call that nobody hears of any more is given."""
CONFLICT_PAUSE = timedelta(minutes=5)
"""How soon what is in conflict is called again."""
PATIENT = Retry(first=timedelta(milliseconds=500), most=timedelta(seconds=30))
"""How calls are repeated that are made until they are done, with compensations."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known; ``branches`` by the names of their steps, ``busy`` those with a call under way here."""

    transaction: GlobalTransaction
    plan: SagaPlan
    branches: Mapping[str, Branch]
    busy: frozenset[str] = frozenset()

    def progress(self, name: str) -> Progress:
        """How far a step has come."""
        return self.branches[name].progress or Progress()


@dataclass(frozen=True, slots=True)
class Register:
    """Make a branch for each of these steps."""

    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MarkPivot:
    """Set the mark in the transaction that its pivot is being called."""


@dataclass(frozen=True, slots=True)
class Decide:
    """Take the outcome."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the outcome to the branches that do not know it."""


@dataclass(frozen=True, slots=True)
class CallStep:
    """Write ``progress`` down, then make the call."""

    step: StepPlan
    operation: Operation
    exchange: Exchange
    progress: Progress


@dataclass(frozen=True, slots=True)
class Note:
    """Write down how a step stands."""

    step: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Settle:
    """Report how a branch ended, or why it is in Conflict."""

    step: str
    settlement: Settlement


Command = Register | MarkPivot | Decide | Tell | CallStep | Note | Settle


@dataclass(frozen=True, slots=True)
class Moves:
    """What is to be done at once, side by side; ``again_at`` is when to look again if nothing is heard."""

    commands: tuple[Command, ...] = ()
    again_at: datetime | None = None
    over: bool = False
    """Nothing will ever be to do any more."""


def decide(seen: Seen, now: datetime) -> Moves:
    """Decide what is to be done next about one declared saga."""
    decision = seen.transaction.decision
    missing = tuple(each.name for each in seen.plan.steps if each.name not in seen.branches)
    if missing and (decision is None or decision.outcome is Outcome.COMMIT):
        return Moves((Register(missing),))
    if decision is None:
        return _undecided(seen, now)
    return _carried_out(seen, decision.outcome, now)


def _undecided(seen: Seen, now: datetime) -> Moves:
    if seen.plan.recovery is Recovery.FORWARD:
        return _outcome(Outcome.COMMIT, SAGA_FORWARD, "")
    failed = [step for step in seen.plan.steps if _failed(seen, step, now)]
    if failed:
        return _outcome(Outcome.ROLLBACK, STEP_FAILED, _why(failed[0], seen.progress(failed[0].name)))
    pivot = seen.plan.pivot
    done = {name for name in seen.branches if seen.progress(name).state is StepState.DONE}
    if (pivot is not None and pivot.name in done) or len(done) == len(seen.plan.steps):
        return _outcome(Outcome.COMMIT, SAGA_COMPLETED, "")
    moves = _Gathered(seen, now)
    after_pivot = {name for name in seen.branches if pivot is not None and pivot.name in moves.before[name]}
    for step in seen.plan.steps:
        needs = set(step.depends_on)
        if step.pivot:
            needs = seen.branches.keys() - after_pivot - {step.name}
        if step.name not in done | after_pivot and needs <= done:
            moves.do(step)
    if pivot is not None and not seen.transaction.pivoting and moves.calls(pivot.name):
        return Moves((MarkPivot(),))
    return moves.all()


def _outcome(outcome: Outcome, reason: str, message: str) -> Moves:
    return Moves((Decide(Decision(outcome, reason, shorten(message))),))


def _failed(seen: Seen, step: StepPlan, now: datetime) -> bool:
    progress = seen.progress(step.name)
    if progress.state in {StepState.REFUSED, StepState.UNANSWERED}:
        return True
    lost = progress.state is StepState.CALLED and step.name not in seen.busy and _due(progress.step, now)
    return lost and not step.pivot and progress.step.count >= step.retry.attempts


def _why(step: StepPlan, progress: Progress) -> str:
    problem = progress.step.problem or "the answer to the last call was lost"
    return f"the step {step.name} has failed at call {progress.step.count}: {problem}"


def _due(attempts: Attempts, now: datetime) -> bool:
    return attempts.next_at is None or now >= attempts.next_at


class _Gathered:
    """Commands as they are found, and the soonest time to look again; ``before`` is what steps build on."""

    def __init__(self, seen: Seen, now: datetime) -> None:
        self.before = ancestors(seen.plan)
        self._seen = seen
        self._now = now
        self._commands: list[Command] = []
        self._again_at: datetime | None = None

    def all(self) -> Moves:
        return Moves(tuple(self._commands), self._again_at)

    def calls(self, name: str) -> bool:
        return any(isinstance(each, CallStep) and each.step.name == name for each in self._commands)

    def add(self, command: Command) -> None:
        self._commands.append(command)

    def wait(self, until: datetime | None) -> None:
        if until is not None:
            self._again_at = until if self._again_at is None else min(self._again_at, until)

    def do(self, step: StepPlan) -> None:
        """Call a step that nothing stands before, when it is due."""
        self._call(step, Operation.STEP, step.request)

    def compensate(self, step: StepPlan, exchange: Exchange) -> None:
        """Call its compensation, when it is due."""
        self._call(step, Operation.COMPENSATE, exchange)

    def _call(self, step: StepPlan, operation: Operation, exchange: Exchange) -> None:
        seen, now = self._seen, self._now
        branch, progress = seen.branches[step.name], seen.progress(step.name)
        asked = max((each.number for each in branch.resolutions), default=0)
        attempts = attempts_of(progress, operation)
        if step.name in seen.busy:
            return
        if not _due(attempts, now) and asked <= progress.heeded:
            self.wait(attempts.next_at)
            return
        try:
            made = filled(exchange, values(seen))
        except TemplateError as error:
            self._template_failed(step, operation, error)
            return
        self.add(CallStep(step, operation, made, called(step, progress, operation, now, asked)))

    def _template_failed(self, step: StepPlan, operation: Operation, error: TemplateError) -> None:
        progress = self._seen.progress(step.name)
        told = shorten(f"it cannot be called: {error}", PROBLEM_LENGTH_MAX)
        if self._seen.transaction.decision is None:
            self.add(Note(step.name, not_called(step, progress, told, self._now)))
        elif _never_told(progress, operation, error):
            status = progress.step.status
            told = f"it was refused with status {status}, and its compensation needs its answer: {error}"
            self.settle(step.name, Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), shorten(told)))
        else:
            self.settle(step.name, Settlement(State.CONFLICT, TEMPLATE_FAILED, told), looked=True)

    def settle(self, name: str, settlement: Settlement, *, looked: bool = False) -> None:
        """Report, unless that was reported or the branch does not know its outcome yet.

        Decisions of people were heard as far as a call was made for them; all of them where the branch
        ends, or it was ``looked`` at again without a call.
        """
        branch, heeded = self._seen.branches[name], self._seen.progress(name).heeded
        over = looked or settlement.state in ENDS
        heard = [CarriedOut(each.number) for each in branch.resolutions if over or each.number <= heeded]
        done = in_all(branch.carried_out, heard, self._now)
        told = (branch.state, branch.message, len(branch.carried_out))
        if branch.outcome is None:
            self.add(Tell())
        elif told != (settlement.state, settlement.message, len(done)):
            self.add(Settle(name, replace(settlement, carried_out=done)))


def _never_told(progress: Progress, operation: Operation, error: TemplateError) -> bool:
    """Whether a step was refused at once, so that there is no answer which its compensation could name."""
    refused = progress.state is StepState.REFUSED and progress.step.count == 1
    return refused and operation is Operation.COMPENSATE and isinstance(error, MissingError)


def values(seen: Seen) -> Values:
    """What templates may refer to by now."""
    done = {name: seen.progress(name) for name in seen.branches if seen.progress(name).place}
    answers = {name: (each.step.status, each.result) for name, each in done.items()}
    return Values(str(seen.transaction.xid), answers)


def _carried_out(seen: Seen, outcome: Outcome, now: datetime) -> Moves:
    moves = _Gathered(seen, now)
    left = [
        each
        for each in seen.plan.steps
        if each.name in seen.branches and not seen.branches[each.name].settled
    ]
    if not left:
        return Moves(over=True)
    for step in left:
        remedy = resolution_of(seen.branches[step.name].resolutions, "", "")
        if step.name in seen.busy:
            continue
        if remedy is not None and remedy.action is Remedy.KEEP:
            moves.settle(step.name, Settlement(END_OF[outcome], RESOLVED_BY_PERSON, shorten(str(remedy))))
        elif outcome is Outcome.COMMIT:
            _finish(seen, step, moves)
        else:
            _take_back(seen, step, moves, now)
    told = moves.all()
    if any(isinstance(each, Tell) for each in told.commands):
        others = tuple(each for each in told.commands if not isinstance(each, Tell))
        return replace(told, commands=(Tell(), *others))
    return told


def _finish(seen: Seen, step: StepPlan, moves: _Gathered) -> None:
    """Commit: what is done stands, what is left is called until it is done."""
    progress = seen.progress(step.name)
    if progress.state is StepState.DONE:
        moves.settle(step.name, STANDS)
        return
    done = {
        name
        for name, each in seen.branches.items()
        if each.settled or seen.progress(name).state is StepState.DONE
    }
    if set(step.depends_on) <= done:
        _stuck(step, Operation.STEP, progress, moves)
        moves.do(step)


def _take_back(seen: Seen, step: StepPlan, moves: _Gathered, now: datetime) -> None:
    """Rollback: what was called is compensated when it is its turn."""
    progress, name = seen.progress(step.name), step.name
    if progress.state is StepState.COMPENSATED:
        told = f"compensated, answered with status {progress.compensation.status}"
        moves.settle(name, Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), told))
    elif progress.state is StepState.WAITING or (
        progress.state is StepState.REFUSED and not progress.step.count
    ):
        moves.settle(name, Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), "it was never called"))
    elif progress.state is StepState.CALLED and not _due(progress.step, now):
        moves.wait(progress.step.next_at)  # somebody else's call may still be under way
    elif step.compensation is None:
        moves.settle(name, _nothing_takes_back(step, progress))
    elif not any(_before(seen, other, step, moves.before) for other in seen.plan.steps):
        _stuck(step, Operation.COMPENSATE, progress, moves)
        moves.compensate(step, step.compensation)


def _nothing_takes_back(step: StepPlan, progress: Progress) -> Settlement:
    if step.pivot and progress.state is not StepState.REFUSED:
        told = (
            f"the pivot {step.name} has no compensation and may have been done; find out, put it right, and "
            "say so by `kubectl globaltx resolve --keep`"
        )
        return Settlement(State.CONFLICT, STEP_UNKNOWN, told)
    return Settlement(State.ROLLED_BACK, str(State.ROLLED_BACK), "it has no compensation")


def _before(seen: Seen, other: StepPlan, mine: StepPlan, before: Mapping[str, set[str]]) -> bool:
    """Whether another step is taken back before mine, and is not yet."""
    branch = seen.branches.get(other.name)
    if other.name == mine.name or branch is None or branch.settled:
        return False
    theirs, own = seen.progress(other.name), seen.progress(mine.name)
    if theirs.state in {StepState.WAITING, StepState.COMPENSATED}:
        return False
    if mine.name in before[other.name]:
        return True
    return bool(own.place) and (not theirs.place or theirs.place > own.place)


def _stuck(step: StepPlan, operation: Operation, progress: Progress, moves: _Gathered) -> None:
    """Tell of a call that is refused again and again; it is made all the same."""
    attempts = attempts_of(progress, operation)
    if attempts.refusals >= step.refusals_max:
        told = (
            f"{operation} {step.name} is answered with status {attempts.status}, which does not mean done; "
            "put the application's data right, it is called again every few minutes"
        )
        moves.settle(step.name, Settlement(State.CONFLICT, CALL_REFUSED, told))


def attempts_of(progress: Progress, operation: Operation) -> Attempts:
    """The calls of one operation."""
    return progress.step if operation is Operation.STEP else progress.compensation


def called(
    step: StepPlan, progress: Progress, operation: Operation, now: datetime, heeded: int = 0
) -> Progress:
    """What is written down before a call: nobody makes another while this one may be under way."""
    before = attempts_of(progress, operation)
    made = replace(before, count=before.count + 1, called_at=now, next_at=now + step.timeout + LATE_GRACE)
    progress = replace(progress, heeded=max(heeded, progress.heeded))
    if operation is Operation.COMPENSATE:
        return replace(progress, compensation=made)
    guarded = progress.guarded + is_guarded(progress)
    return replace(progress, state=StepState.CALLED, step=made, guarded=guarded)


def is_guarded(progress: Progress) -> bool:
    """Whether the calls of a step so far, if there were any, all carried its guard.

    Only then may another one carry it: of a call that did not there is no guard row, and a compensation with
    a guard would be told that nothing was done.
    """
    return progress.guarded == progress.step.count


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; ``status`` 0 and a ``problem``: no answer. ``result`` is JSON text to be kept.

    ``found``: a guard row says that the call was done before, or has nothing to do.
    """

    status: int = 0
    result: str = ""
    problem: str = ""
    found: bool = False


def answered(  # noqa: PLR0913  all that bears on it, and no clock or chance of its own
    step: StepPlan,
    progress: Progress,
    operation: Operation,
    answer: Answer,
    now: datetime,
    *,
    place: int,
    outcome: Outcome | None,
    chance: float,
) -> Progress:
    """What is written down after a call, given the outcome as far as it is taken.

    ``place`` is what the step gets if it is done: one more than that of all others. ``chance`` in [0, 1)
    says when it is called again if it is not.
    """
    rules = Calls("", "", success_statuses=step.success_statuses)
    verdict = tcc.judge(rules, answer.status) if answer.status else Verdict.LATER
    if answer.found:
        verdict = Verdict.DONE
    before = attempts_of(progress, operation)
    refusals = before.refusals + 1 if verdict is Verdict.REFUSED else 0
    problem = "" if verdict is Verdict.DONE else answer.problem or f"answered with status {answer.status}"
    made = replace(
        before, status=answer.status, refusals=refusals, problem=shorten(problem, PROBLEM_LENGTH_MAX)
    )
    endless = outcome is Outcome.COMMIT or operation is Operation.COMPENSATE or step.pivot
    made = replace(made, next_at=now + _pause(step, made, chance, endless=endless))
    if operation is Operation.COMPENSATE:
        state = StepState.COMPENSATED if verdict is Verdict.DONE else progress.state
        return replace(progress, state=state, compensation=made)
    if verdict is Verdict.DONE:
        return replace(progress, state=StepState.DONE, step=made, result=answer.result, place=place)
    return replace(progress, state=_failing(step, made, verdict, outcome), step=made)


def _pause(step: StepPlan, attempts: Attempts, chance: float, *, endless: bool) -> timedelta:
    if attempts.refusals >= step.refusals_max:
        return CONFLICT_PAUSE
    retry = step.retry if not endless or attempts.count <= step.retry.attempts else PATIENT
    return retry.after(attempts.count, chance)


def _failing(step: StepPlan, attempts: Attempts, verdict: Verdict, outcome: Outcome | None) -> StepState:
    if outcome is Outcome.COMMIT:
        return StepState.RETRYING
    if verdict is Verdict.REFUSED:
        return StepState.REFUSED
    if step.pivot or attempts.count < step.retry.attempts:
        return StepState.RETRYING
    return StepState.UNANSWERED


def not_called(step: StepPlan, progress: Progress, problem: str, now: datetime) -> Progress:
    """What is written down where a step must not be called.

    What was called before may have been done, so it is not refused: a step is taken back, and of the pivot
    it is looked again whether it may be called, because its answer alone decides.
    """
    stopped = replace(progress.step, problem=shorten(problem, PROBLEM_LENGTH_MAX))
    if not progress.step.count:
        return replace(progress, state=StepState.REFUSED, step=stopped)
    if not step.pivot:
        return replace(progress, state=StepState.UNANSWERED, step=stopped)
    return replace(progress, state=StepState.RETRYING, step=replace(stopped, next_at=now + PATIENT.most))
