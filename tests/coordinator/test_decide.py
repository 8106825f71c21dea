"""What the scenarios and the interleavings do not show of ``decide``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from globaltx.coordinator.conditions import Status, why
from globaltx.coordinator.decide import UNKNOWN_AFTER, decide, decide_unknown
from globaltx.coordinator.observed import Observed, ObservedBranch, Plan
from globaltx.coordinator.reasons import Reason
from globaltx.transaction.declared import Exchange, SagaPlan, StepPlan
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, shorten
from globaltx.transaction.states import IllegalMoveError, Outcome, State
from globaltx.transaction.xid import Xid

NOW = datetime(2026, 1, 1, tzinfo=UTC)
XID = Xid("shop", "01abc")
COMMIT = Decision(Outcome.COMMIT, Reason.REQUEST_SUCCEEDED)
BRANCH = ObservedBranch(Branch(BranchId(XID, "order", "db")), born_at=NOW)


def transaction(decision: Decision | None = None) -> GlobalTransaction:
    return GlobalTransaction(XID, "a", timedelta(seconds=60), begun_at=NOW, decision=decision)


def test_a_recorded_end_against_the_outcome_is_a_bug() -> None:
    seen = Observed(transaction(COMMIT), Status(State.ROLLED_BACK), (BRANCH,), complete=True)
    with pytest.raises(IllegalMoveError):
        decide(seen, NOW)


def test_a_recorded_way_against_the_outcome_is_put_right() -> None:
    """Somebody has written the status by hand, before the outcome or after it: the outcome stands."""
    for state in (State.ROLLING_BACK, State.COMMITTING, State.ACTIVE):
        plan = decide(Observed(transaction(COMMIT), Status(state), (BRANCH,)), NOW + timedelta(seconds=3))
        assert [each.outcome for each in plan.stamp] == [Outcome.COMMIT]
        assert plan.status is not None
        assert plan.status.state is State.COMMITTING


def test_an_operator_whose_clock_is_behind_does_not_stumble() -> None:
    assert decide(Observed(transaction()), NOW - timedelta(hours=1)).requeue_after is not None


def test_a_cache_that_knows_fewer_branches_does_not_lower_the_counts() -> None:
    recorded = Status(State.COMMITTING, total=3, settled=1, decided_at=NOW)
    seen = Observed(transaction(COMMIT), recorded, (BRANCH,))
    status = decide(seen, NOW).status
    assert status is not None
    assert (status.settled, status.total) == (1, 3)


def test_a_long_message_is_cut_so_that_it_is_not_written_again_and_again() -> None:
    branch = replace(BRANCH.branch, state=State.CONFLICT, reason="RowChanged", message="x" * 1024)
    seen = Observed(transaction(COMMIT), branches=(replace(BRANCH, branch=branch),))
    status = decide(seen, NOW).status
    assert status is not None
    assert len(status.message) == 1024
    assert shorten(status.message) == status.message


def test_a_person_may_have_a_reason_that_is_not_ours() -> None:
    assert why(Decision(Outcome.COMMIT, "Ticket4711", by="kim")) == "Commit, Ticket4711:  (by kim)"


SAGA = SagaPlan((StepPlan("flight", Exchange("http://x/")), StepPlan("hotel", Exchange("http://x/"))))


def test_a_saga_whose_pivot_is_called_is_rolled_back_by_no_deadline_and_no_deletion() -> None:
    declared = replace(transaction(), saga=SAGA)
    late = NOW + timedelta(hours=1)
    assert decide(Observed(declared), late).take is not None
    pivoting = Observed(replace(declared, pivoting=True))
    assert decide(pivoting, late).take is None
    assert decide(replace(pivoting, deleting=True), late).take is None
    assert decide(pivoting, late).requeue_after is not None


@pytest.mark.parametrize("outcome", Outcome)
def test_a_saga_has_not_committed_while_a_step_is_not_even_registered(outcome: Outcome) -> None:
    declared = replace(transaction(Decision(outcome, Reason.DECIDED_BY_PERSON)), saga=SAGA)
    end = State.COMMITTED if outcome is Outcome.COMMIT else State.ROLLED_BACK
    done = replace(BRANCH, branch=replace(BRANCH.branch, outcome=outcome, state=end))
    seen = Observed(declared, Status(State.ACTIVE), (done,), complete=True)
    status = decide(seen, NOW + timedelta(minutes=1)).status
    assert status is not None
    assert (status.state is end) == (outcome is Outcome.ROLLBACK)
    other = replace(done, branch=replace(done.branch, id=BranchId(XID, "order", "other")))
    both = decide(replace(seen, branches=(done, other)), NOW + timedelta(minutes=1)).status
    assert both is not None
    assert both.state is end


def test_a_branch_without_transaction_is_reported_once_and_never_guessed_at() -> None:
    assert decide_unknown(BRANCH, NOW) == Plan(requeue_after=UNKNOWN_AFTER)
    later = NOW + UNKNOWN_AFTER
    plan = decide_unknown(BRANCH, later)
    assert [each.reason for each in plan.reports] == [Reason.UNKNOWN_TRANSACTION]
    assert [each.reason for each in plan.notices] == [Reason.UNKNOWN_TRANSACTION]
    assert not plan.stamp
    told = replace(BRANCH, branch=replace(BRANCH.branch, reason=plan.reports[0].reason))
    again = decide_unknown(told, later)
    assert not again.reports
    assert not again.notices


def test_not_even_its_deletion_says_what_became_of_a_branch_without_transaction() -> None:
    plan = decide_unknown(replace(BRANCH, deleting=True), NOW + UNKNOWN_AFTER)
    assert plan.reports
    assert not plan.stamp
    assert not plan.release_branches


def test_a_branch_without_transaction_goes_once_a_person_decided_and_it_settled() -> None:
    decided = replace(BRANCH, branch=replace(BRANCH.branch, outcome=Outcome.ROLLBACK))
    assert not decide_unknown(decided, NOW).release_branches
    settled = replace(decided, branch=replace(decided.branch, state=State.ROLLED_BACK))
    plan = decide_unknown(settled, NOW)
    assert (plan.release_branches, plan.forget) == ((BRANCH.branch.id,), True)
    assert not decide_unknown(replace(settled, held=False, deleting=True), NOW).forget
