"""Plays golden scenarios: commands in, what the operator does out, as text."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from globaltx.coordinator.decide import decide
from globaltx.coordinator.observed import Observed, ObservedBranch
from globaltx.transaction.calls import Calls, Reservation
from globaltx.transaction.conflict import Remedy, Resolution
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction
from globaltx.transaction.notification import Notify
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from globaltx.coordinator.conditions import Status
    from globaltx.coordinator.observed import Plan

XID = Xid("shop", "01abc")
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


class Stage:
    """One transaction, held as the API server would hold it; `play` answers one command."""

    def __init__(self) -> None:
        self.now = BEGUN
        self.branches: dict[str, ObservedBranch] = {}
        self.seen = Observed(GlobalTransaction(XID, "aggregation", timedelta()))
        self.gone = False
        self.full = False

    def play(self, command: str) -> list[str]:
        verb, *arguments = shlex.split(command)
        commands: dict[str, Callable[..., list[str] | None]] = {
            "begin": self._begin,
            "notify": self._notify,
            "at": self._at,
            "join": self._join,
            "reserve": self._reserve,
            "outcome": self._outcome,
            "report": self._report,
            "resolve": self._resolve,
            "lose": self._lose,
            "delete": self._delete,
            "leave": self._leave,
            "fill": self._fill,
            "pass": self._pass,
        }
        return commands[verb](*arguments) or []

    def _begin(self, timeout: str, ttl: str) -> None:
        spans = [timedelta(seconds=int(each)) for each in (timeout, ttl)]
        transaction = GlobalTransaction(XID, "aggregation", spans[0], ttl=spans[1], begun_at=BEGUN)
        self.seen = replace(self.seen, transaction=transaction)

    def _notify(self, name: str, outcomes: str, *pauses: str) -> None:
        wish = Notify(
            name,
            "http://billing/outcomes",
            frozenset(map(Outcome, outcomes.split(","))),
            tuple(timedelta(seconds=int(each)) for each in pauses),
        )
        transaction = self.seen.transaction
        self.seen = replace(self.seen, transaction=replace(transaction, notify=(*transaction.notify, wish)))

    def _at(self, seconds: str) -> None:
        self.now = BEGUN + timedelta(seconds=float(seconds))

    def _join(self, *names: str) -> None:
        for name in names:
            app, _, resource = name.partition("/")
            self.branches[name] = ObservedBranch(Branch(BranchId(XID, app, resource)))

    def _reserve(self, name: str, seconds: str, margin: str) -> None:
        self._join(name)
        known = self.branches[name]
        spans = [timedelta(seconds=int(each)) for each in (seconds, margin)]
        calls = Calls("/confirm", "", reservation=Reservation(spans[0], "/state", spans[1]))
        self.branches[name] = replace(known, branch=replace(known.branch, calls=calls))

    def _outcome(self, outcome: str, reason: str, message: str = "", by: str = "") -> None:
        self._decide(Decision(Outcome(outcome), reason, message, by))

    def _decide(self, decision: Decision) -> None:
        if self.seen.transaction.decision is None:
            transaction = replace(self.seen.transaction, decision=decision)
            self.seen = replace(self.seen, transaction=transaction)

    def _report(
        self, name: str, state: str, reason: str = "", message: str = "", attempts: str = "0"
    ) -> None:
        known = self.branches[name]
        branch = replace(
            known.branch, state=State(state), reason=reason, message=message, attempts=int(attempts)
        )
        self.branches[name] = replace(known, branch=branch)

    def _resolve(self, name: str, action: str, by: str, why: str) -> None:
        known = self.branches[name]
        made = known.branch.resolutions
        resolution = Resolution(len(made) + 1, Remedy(action), why, by)
        self.branches[name] = replace(known, branch=replace(known.branch, resolutions=(*made, resolution)))

    def _lose(self, *names: str) -> None:
        for name in names:
            del self.branches[name]

    def _delete(self) -> None:
        self.seen = replace(self.seen, deleting=True)

    def _leave(self) -> None:
        """The namespace is being deleted, and the API server has said so."""
        self.seen = replace(self.seen, leaving=True)

    def _fill(self) -> None:
        """A quota lets no more branches be made."""
        self.full = True

    def _pass(self) -> list[str]:
        return list(self._passes())

    def _passes(self) -> Iterator[str]:
        complete = False
        while not self.gone:
            branches = tuple(self.branches.values())
            plan = decide(replace(self.seen, branches=branches, complete=complete), self.now)
            yield from told(plan)
            self._apply(plan)
            complete = plan.complete
            if not plan.again:
                return
        yield "it is gone"

    def _apply(self, plan: Plan) -> None:
        if plan.take is not None:
            self._decide(plan.take)
        for made in () if self.full else plan.register:
            self.branches[name_of(made.id)] = ObservedBranch(made, owned=True)
        for over, settlement in plan.give_up:
            self._report(name_of(over), settlement.state, settlement.reason, settlement.message)
        for stamp in plan.stamp:
            known = self.branches[name_of(stamp.branch)]
            branch = replace(known.branch, outcome=known.branch.outcome or stamp.outcome)
            self.branches[name_of(stamp.branch)] = replace(known, branch=branch, owned=True)
        if plan.status is not None:
            self.seen = replace(self.seen, status=plan.status)
        for each in plan.release_branches:
            self.branches[name_of(each)] = replace(self.branches[name_of(each)], held=False)
        if plan.release:
            self.seen = replace(self.seen, held=False)
        self.gone = plan.forget or (self.seen.deleting and not self.seen.held)


def name_of(branch: BranchId) -> str:
    return f"{branch.app}/{branch.resource}"


def told(plan: Plan) -> Iterator[str]:
    if plan.take is not None:
        yield f"take {plan.take.outcome}, {plan.take.reason}"
    yield from (f"register {name_of(made.id)} {made.outcome}" for made in plan.register)
    for stamp in plan.stamp:
        yield f"tell {name_of(stamp.branch)} {stamp.outcome}"
    if plan.complete:
        yield "list all branches"
    for notice in plan.notices:
        at = f" at {name_of(notice.branch)}" if notice.branch else ""
        yield f"event {notice.weight} {notice.reason}{at}: {notice.message}"
    yield from (f"give up {name_of(over)}: {settlement.message}" for over, settlement in plan.give_up)
    if plan.status is not None:
        yield from told_status(plan.status)
    for branch in plan.release_branches:
        yield f"release {name_of(branch)}"
    if plan.release:
        yield "release the transaction"
    if plan.forget:
        yield "forget"
    if plan.requeue_after is not None:
        yield f"come again in {plan.requeue_after.total_seconds():g} s"


def told_status(status: Status) -> Iterator[str]:
    verdict = "Unknown" if status.succeeded is None else status.succeeded
    counts = f"{status.settled}/{status.total}"
    reason = "" if str(status.reason) == str(status.state) else f" {status.reason}"
    yield f"status {status.state} {counts} Succeeded={verdict}{reason}: {status.message}"
    for each in status.notifications:
        problem = f": {each.problem}" if each.problem else ""
        yield f"notification {each.name} {each.state} {each.attempts}{problem}"
