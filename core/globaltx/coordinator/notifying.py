"""Notifications beside the other branches of a transaction: what is missing, how it stands, what is over.

A transaction ends without them. It is kept until each was delivered or given up, and that is never
longer than their schedule and `GRACE`: what nobody has sent by then is given up here. So is what could
not even be registered, by then or as soon as the namespace is being deleted.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from globaltx.coordinator.conditions import NotificationState, NotificationStatus
from globaltx.modes import notify
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from globaltx.coordinator.observed import Observed
    from globaltx.transaction.model import Branch, BranchId, Decision, Settlement

GRACE = timedelta(minutes=5)
"""How much longer than its schedule a notification may take: leaders change, stores are away."""

_LEAVING = "given up before the first attempt: the namespace is being deleted"
_NEVER_MADE = "given up before the first attempt: its Branch could not be made; the operator's log says why"


def apart(seen: Observed) -> Observed:
    """Set notifications apart from the branches that a transaction waits for."""
    notified = tuple(each for each in seen.branches if each.branch.notification is not None)
    if not notified:
        return seen
    others = tuple(each for each in seen.branches if each.branch.notification is None)
    return replace(seen, branches=others, notified=notified)


def missing(seen: Observed, decision: Decision, now: datetime) -> tuple[Branch, ...]:
    """The notifications that are not registered yet, as long as they can be."""
    if seen.leaving:
        return ()
    known = {each.branch.id for each in seen.notified}
    over = {each.name for each in seen.status.notifications if each.over}
    wanted = notify.branches(seen.transaction, decision, seen.status.decided_at or now)
    return tuple(
        each
        for each in wanted
        if each.id not in known
        and notify.name_of(each.id) not in over
        and _left(seen, each, now) > timedelta()
    )


def statuses(seen: Observed, decision: Decision, now: datetime) -> tuple[NotificationStatus, ...]:
    """How the notifications that the outcome asks for stand; what was recorded as over stays so."""
    known = {each.branch.id: each.branch for each in seen.notified}
    over = {each.name: each for each in seen.status.notifications if each.over}
    return tuple(
        over.get(notify.name_of(each.id))
        or (_stands(known[each.id]) if each.id in known else _unregistered(seen, each, now))
        for each in notify.branches(seen.transaction, decision, now)
    )


def overdue(seen: Observed, now: datetime) -> Iterator[tuple[BranchId, Settlement]]:
    """What is given up here, because nobody has sent it in time."""
    for each in seen.notified:
        if not each.branch.settled and _left(seen, each.branch, now) <= timedelta():
            yield each.branch.id, notify.overdue(each.branch)


def look_again(seen: Observed, now: datetime) -> timedelta | None:
    """How soon a notification may be overdue; None if none is open."""
    left = (_left(seen, each.branch, now) for each in seen.notified if not each.branch.settled)
    return min(left, default=None)


def newly_given_up(
    before: Sequence[NotificationStatus], told: Sequence[NotificationStatus]
) -> Iterator[NotificationStatus]:
    """Those that were not known to be given up."""
    known = {each.name for each in before if each.state is NotificationState.GIVEN_UP}
    for each in told:
        if each.state is NotificationState.GIVEN_UP and each.name not in known:
            yield each


def _unregistered(seen: Observed, branch: Branch, now: datetime) -> NotificationStatus:
    name = notify.name_of(branch.id)
    if seen.leaving:
        return NotificationStatus(name, NotificationState.GIVEN_UP, problem=_LEAVING)
    if _left(seen, branch, now) <= timedelta():
        return NotificationStatus(name, NotificationState.GIVEN_UP, problem=_NEVER_MADE)
    return NotificationStatus(name)


def _stands(branch: Branch) -> NotificationStatus:
    name = notify.name_of(branch.id)
    if not branch.settled:
        return NotificationStatus(name, attempts=branch.attempts, problem=branch.message)
    if branch.reason == notify.NOTIFICATION_GIVEN_UP:
        return NotificationStatus(name, NotificationState.GIVEN_UP, branch.attempts, branch.message)
    return NotificationStatus(name, NotificationState.DELIVERED, branch.attempts)


def _left(seen: Observed, branch: Branch, now: datetime) -> timedelta:
    """Reckoned by the clock of who asks, from when it has seen the outcome: no two clocks are compared."""
    assert branch.notification is not None  # noqa: S101  `apart` has looked
    return (seen.status.decided_at or now) + branch.notification.lasts + GRACE - now
