"""From what is known about a transaction to what is to be done next: pure, no clock, no IO.

Until the outcome is taken there is nothing to do but to wait for it; at the deadline, or when
the transaction is deleted, Rollback is taken. From then on every branch that can exist is told
the outcome, the late ones too, and followed until it has settled. The transaction has ended only
when a *complete* list of its branches, made after the outcome was seen, holds none that has not.
(A branch that is created later still finds the outcome, and is taken back before it holds work.)
Only then may it, and its branches, be removed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.coordinator import notifying
from globaltx.coordinator.conditions import (
    Status,
    StepStatus,
    in_conflict,
    meaning,
    resolved,
    steps_so_far,
    waiting_for,
    why,
)
from globaltx.coordinator.observed import Notice, Observed, ObservedBranch, Plan, Report, Stamp, Weight
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.transaction.declared import StepState
from globaltx.transaction.model import Branch, Decision, shorten
from globaltx.transaction.states import END_OF, ENDS, Event, Outcome, State, advance, decided, done
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

OPERATOR = "globaltx-operator"
"""Who decided, when the operator did."""

SHOWN_AFTER = timedelta(seconds=2)
"""A transaction that has ended sooner costs no write of its status, and no Event, on its way there."""
REVIEW_AFTER = timedelta(seconds=30)
REVIEW_AFTER_MAX = timedelta(minutes=5)
"""How soon a decided transaction is looked at again when nobody reports: with its age."""
SOON = timedelta(milliseconds=100)
UNKNOWN_AFTER = timedelta(seconds=10)
"""How old a branch without a transaction must be before it is called that; a read may be on its way."""


def decide(seen: Observed, now: datetime) -> Plan:
    """Decide what is to be done next about one transaction.

    Raises:
        IllegalMoveError: a bug; the recorded end contradicts the outcome.
    """
    decision = seen.transaction.decision
    if decision is None:
        return _undecided(seen, now)
    seen = notifying.apart(seen)
    plan = _decided(seen, decision, now)
    return replace(
        plan,
        register=notifying.missing(seen, decision, now),
        give_up=tuple(notifying.overdue(seen, now)),
    )


def _undecided(seen: Observed, now: datetime) -> Plan:
    deadline = seen.deadline
    if seen.transaction.pivoting:
        deadline = None  # only the pivot's answer decides now, or a person
    elif seen.deleting:
        return Plan(take=_rollback(Reason.DELETION_REQUESTED))
    if deadline is not None and now >= deadline:
        return Plan(take=_rollback(Reason.DEADLINE_EXCEEDED))
    left = REVIEW_AFTER if deadline is None else deadline - now
    young = SHOWN_AFTER - _age(seen, now)
    if young > timedelta():
        return Plan(requeue_after=min(young, left))
    total = max(len(seen.branches), seen.status.total)
    steps = _steps(seen)
    told = shorten(steps_so_far(steps)) if steps else SENTENCES[Reason.ACTIVE]
    status = Status(message=told, total=total, steps=steps)
    unchanged = (total, steps) == (seen.status.total, seen.status.steps)
    return Plan(status=None if unchanged else status, requeue_after=left)


def _steps(seen: Observed) -> tuple[StepStatus, ...]:
    """How the steps of a declared saga stand, in their order; of one that is not known, how it stood."""
    saga = seen.transaction.saga
    if saga is None:
        return ()
    known = {each.name: each for each in seen.status.steps}
    for each in seen.branches:
        progress = each.branch.progress
        if progress is not None:
            problem = progress.compensation.problem or progress.step.problem
            known[each.branch.id.resource] = StepStatus(each.branch.id.resource, progress.state, problem)
    return tuple(known.get(step.name) or StepStatus(step.name, StepState.WAITING) for step in saga.steps)


def _rollback(reason: Reason) -> Decision:
    return Decision(Outcome.ROLLBACK, reason, SENTENCES[reason], OPERATOR)


def _age(seen: Observed, now: datetime) -> timedelta:
    begun_at = seen.transaction.begun_at
    return timedelta() if begun_at is None else now - begun_at


def _decided(seen: Observed, decision: Decision, now: datetime) -> Plan:
    outcome = decision.outcome
    stamps = tuple(_stamps(seen, outcome))
    open_branches = [each.branch for each in seen.branches if not _followed(each.branch, outcome)]
    ended = not open_branches and not _unregistered(seen, outcome)
    if not seen.complete and _must_be_complete(seen, now, ended=ended):
        return Plan(stamp=stamps, complete=True)
    status = _status(seen, decision, open_branches, now)
    young = SHOWN_AFTER - _age(seen, now)
    if _passes_quickly(seen, status) and young > timedelta():
        return Plan(stamp=stamps, requeue_after=young)
    plan = Plan(
        stamp=stamps,
        notices=tuple(_notices(seen, decision, status)),
        status=None if status == seen.status else status,
        requeue_after=_review(seen, now),
    )
    return _ended(seen, status, plan, now) if ended else plan


def _unregistered(seen: Observed, outcome: Outcome) -> bool:
    """Whether steps of a declared saga are still to come: Commit means all of them."""
    saga = seen.transaction.saga
    return saga is not None and outcome is Outcome.COMMIT and len(seen.branches) < len(saga.steps)


def _passes_quickly(seen: Observed, status: Status) -> bool:
    """Whether all that there is to be told is that the branches are at work."""
    at_work = status.state in {State.COMMITTING, State.ROLLING_BACK}
    return seen.status.state is State.ACTIVE and at_work and status.resolutions == seen.status.resolutions


def _stamps(seen: Observed, outcome: Outcome) -> Iterator[Stamp]:
    for each in (*seen.branches, *seen.notified):
        told = each.branch.outcome
        if told is None or (told is outcome and not each.owned):
            yield Stamp(each.branch.id, outcome)


def _followed(branch: Branch, outcome: Outcome) -> bool:
    return branch.outcome is outcome and branch.state is END_OF[outcome]


def _must_be_complete(seen: Observed, now: datetime, *, ended: bool) -> bool:
    """A cache is enough to go on, but neither to call it the end, nor to forget, nor to wait for long."""
    if not ended:
        return seen.status.decided_at is not None and now - seen.status.decided_at >= REVIEW_AFTER
    return seen.status.state not in ENDS or _time_left(seen, now) <= timedelta()


def _time_left(seen: Observed, now: datetime) -> timedelta:
    return (seen.status.settled_at or now) + seen.transaction.ttl - now


def _review(seen: Observed, now: datetime) -> timedelta:
    if seen.status.decided_at is None:
        return REVIEW_AFTER
    return min(max(REVIEW_AFTER, (now - seen.status.decided_at) / 2), REVIEW_AFTER_MAX)


def _status(seen: Observed, decision: Decision, open_branches: list[Branch], now: datetime) -> Status:
    disputed = [_disputed(each, decision.outcome) for each in open_branches]
    refused = [each for each in disputed if each is not None]
    ended = not open_branches and not _unregistered(seen, decision.outcome)
    state = _state(seen, decision.outcome, ended=ended, refused=bool(refused))
    total, settled = _counts(seen, state, len(open_branches))
    by_person = [each.branch for each in seen.branches if _by_person(each.branch)] if state in ENDS else []
    known = sum(len(each.branch.resolutions) for each in seen.branches)
    told = _progress(state, open_branches, refused) + resolved(by_person) + why(decision)
    return Status(
        state=state,
        message=seen.status.message if seen.status.state in ENDS else shorten(told),
        total=total,
        settled=settled,
        decided_at=seen.status.decided_at or now,
        settled_at=(seen.status.settled_at or now) if state in ENDS else None,
        resolutions=max(known, seen.status.resolutions),
        resolved=bool(by_person) or seen.status.resolved,
        steps=_steps(seen),
        notifications=notifying.statuses(seen, decision, now),
    )


def _by_person(branch: Branch) -> bool:
    return branch.settled and branch.reason == Reason.RESOLVED_BY_PERSON


def _counts(seen: Observed, state: State, unsettled: int) -> tuple[int, int]:
    """All branches and the settled ones; what was recorded stands against a cache that knows fewer."""
    total, settled = len(seen.branches), len(seen.branches) - unsettled
    if seen.complete and seen.status.state not in ENDS:
        return total, settled
    total = max(total, seen.status.total)
    return total, total - unsettled if state in ENDS else max(settled, seen.status.settled)


def _state(seen: Observed, outcome: Outcome, *, ended: bool, refused: bool) -> State:
    """Apply the table of moves; an end is never left, whatever a late branch does.

    Where it is under way follows from the outcome alone: a status may have been written by hand.
    """
    state = seen.status.state
    if state in ENDS:
        return advance(state, done(outcome))
    if state is not State.CONFLICT:
        state = advance(State.ACTIVE, decided(outcome))
    if ended:
        return advance(state, done(outcome))
    return advance(state, Event.REFUSED) if refused else state


def _disputed(branch: Branch, outcome: Outcome) -> Branch | None:
    """The branch if a person must decide about it, with the reason why."""
    if branch.state is State.CONFLICT:
        return branch
    if branch.outcome in {None, outcome} and branch.state not in ENDS:
        return None
    did = branch.state if branch.state in ENDS else f"told {branch.outcome}"
    return replace(branch, reason=Reason.OUTCOME_MISMATCH, message=f"it is {did}, the outcome is {outcome}")


def _progress(state: State, open_branches: list[Branch], refused: list[Branch]) -> str:
    if refused:
        return in_conflict(refused)
    return "" if state in ENDS or not open_branches else waiting_for(open_branches)


def _notices(seen: Observed, decision: Decision, status: Status) -> Iterator[Notice]:
    """Tell what is new against the recorded status: the outcome, a conflict, a resolution, the end.

    The end says what the outcome was; and of a commit that has gone smoothly nobody need be told at
    all, its condition says it: most transactions are such, and an Event is as dear as any other write.
    """
    for each in notifying.newly_given_up(seen.status.notifications, status.notifications):
        yield Notice(Weight.WARNING, Reason.NOTIFICATION_GIVEN_UP, f"{each.name}: {each.problem}")
    resolved = status.resolutions > seen.status.resolutions
    if seen.status.state is State.ACTIVE and status.state is State.COMMITTED and not resolved:
        return
    if seen.status.state is State.ACTIVE and status.state not in ENDS:
        late = decision.reason == Reason.DEADLINE_EXCEEDED
        yield Notice(Weight.WARNING if late else Weight.NORMAL, decision.reason, why(decision))
    if status.state is State.CONFLICT and status.message != seen.status.message:
        yield Notice(Weight.WARNING, Reason.CONFLICT, status.message)
        yield from _branch_conflicts(seen, decision.outcome)
    if resolved:
        yield from _resolutions(seen)
    if status.state in ENDS and seen.status.state not in ENDS:
        yield Notice(Weight.NORMAL, status.reason, f"{SENTENCES[status.reason]} {why(decision)}")


def _resolutions(seen: Observed) -> Iterator[Notice]:
    """Each decision of a person; those that were told before are so once more, which nobody sees."""
    for each in seen.branches:
        for resolution in each.branch.resolutions:
            yield Notice(Weight.NORMAL, Reason.RESOLVED_BY_PERSON, str(resolution), each.branch.id)


def _branch_conflicts(seen: Observed, outcome: Outcome) -> Iterator[Notice]:
    for each in seen.branches:
        disputed = None if _followed(each.branch, outcome) else _disputed(each.branch, outcome)
        if disputed is not None:
            told = disputed.message or meaning(disputed.reason)
            yield Notice(Weight.WARNING, disputed.reason or Reason.CONFLICT, told, disputed.id)


def _ended(seen: Observed, status: Status, plan: Plan, now: datetime) -> Plan:
    """The rest of a settled transaction's life: let go of it, and remove it when its time is over."""
    if status.telling:
        left = notifying.look_again(seen, now) or REVIEW_AFTER
        return replace(plan, requeue_after=max(SOON, min(left, REVIEW_AFTER_MAX)))
    held = tuple(each.branch.id for each in (*seen.branches, *seen.notified) if each.held)
    plan = replace(plan, release_branches=held, release=seen.held)
    if seen.deleting:
        return replace(plan, requeue_after=REVIEW_AFTER_MAX)
    left = _time_left(seen, now)
    if left > timedelta():
        return replace(plan, requeue_after=left)
    recorded = status == seen.status and not plan.stamp and not held
    return replace(plan, forget=recorded, requeue_after=None if recorded else SOON)


def decide_unknown(seen: ObservedBranch, now: datetime) -> Plan:
    """Decide about a branch whose transaction does not exist, as a consistent read has told.

    The transaction was removed by force, or was forgotten while a `join` was on its way. What became
    of it is unknown, and never guessed at: not even a deletion of the branch says it, because the
    garbage collector deletes what has lost its owner. A person sets ``spec.outcome`` of the branch.
    """
    branch = seen.branch
    if branch.settled:
        return Plan(release_branches=(branch.id,) if seen.held else (), forget=not seen.deleting)
    if branch.outcome is not None:
        return Plan(requeue_after=REVIEW_AFTER_MAX)
    age = timedelta() if seen.born_at is None else now - seen.born_at
    if age < UNKNOWN_AFTER:
        return Plan(requeue_after=UNKNOWN_AFTER - age)
    if branch.reason == Reason.UNKNOWN_TRANSACTION:
        return Plan(requeue_after=REVIEW_AFTER_MAX)
    return _reported(branch)


def _reported(branch: Branch) -> Plan:
    reason, message = Reason.UNKNOWN_TRANSACTION, unknown_message(branch)
    return Plan(
        notices=(Notice(Weight.WARNING, reason, message, branch.id),),
        reports=(Report(branch.id, reason, message),),
        requeue_after=REVIEW_AFTER_MAX,
    )


def unknown_message(branch: Branch) -> str:
    """What a person reads at a branch whose transaction does not exist."""
    return (
        f"{SENTENCES[Reason.UNKNOWN_TRANSACTION]} Find out what became of {branch.id.xid} and set "
        "spec.outcome of this branch to it; then it is carried out and the branch goes."
    )
