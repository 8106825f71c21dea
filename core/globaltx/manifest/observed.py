"""What the operator reads from, and writes to, the resources of one transaction."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.conditions import NotificationState, Status, StepStatus
from globaltx.coordinator.observed import Observed, ObservedBranch
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.manifest.notify import read_notifications, write_notifications
from globaltx.manifest.resources import (
    API_VERSION,
    CONDITION_NOTIFIED,
    CONDITION_SUCCEEDED,
    FINALIZER,
    TRANSACTIONS,
    UNTRACKED,
    branch_from_resource,
    condition,
    transaction_from_resource,
)
from globaltx.manifest.times import format_time, parse_time
from globaltx.transaction.declared import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from globaltx.coordinator.observed import Report
    from globaltx.transaction.states import Outcome

_MINUTE = 60
_HOUR = 60 * _MINUTE


def observe(
    transaction: Mapping[str, Any],
    branches: Iterable[Mapping[str, Any]],
    *,
    complete: bool = False,
    leaving: bool = False,
) -> Observed:
    """Read a transaction and what is known of its branches (`Observed` says what the flags mean).

    Raises:
        InvalidResourceError: one of them is not what the schema says.
    """
    metadata = transaction["metadata"]
    return Observed(
        transaction=transaction_from_resource(transaction),
        status=read_status(transaction),
        branches=tuple(observe_branch(each, metadata.get("uid", "")) for each in branches),
        complete=complete,
        held=FINALIZER in metadata.get("finalizers", ()),
        deleting="deletionTimestamp" in metadata,
        leaving=leaving,
    )


def observe_branch(resource: Mapping[str, Any], owner_uid: str) -> ObservedBranch:
    """Read a branch of the transaction of that uid (empty: it has none)."""
    metadata = resource["metadata"]
    owners = {owner["uid"] for owner in metadata.get("ownerReferences", ())}
    return ObservedBranch(
        branch=branch_from_resource(resource),
        held=FINALIZER in metadata.get("finalizers", ()),
        owned=owner_uid in owners,
        deleting="deletionTimestamp" in metadata,
        born_at=parse_time(metadata.get("creationTimestamp")),
    )


def read_status(resource: Mapping[str, Any]) -> Status:
    """Read what was recorded in a transaction's status."""
    raw = resource.get("status") or {}
    transaction = transaction_from_resource(resource)
    return Status(
        state=transaction.state,
        message=raw.get("message", ""),
        total=raw.get("branchesTotal", 0),
        settled=raw.get("branchesSettled", 0),
        decided_at=parse_time(raw.get("decidedAt")),
        settled_at=transaction.settled_at,
        resolutions=raw.get("resolutions", 0),
        steps=tuple(
            StepStatus(each["name"], StepState(each["state"]), each.get("problem", ""))
            for each in raw.get("steps", ())
        ),
        notifications=read_notifications(raw.get("notifications", ())),
        resolved=any(each.get("reason") == Reason.RESOLVED_BY_PERSON for each in raw.get("conditions", ())),
    )


def write_status(status: Status, resource: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Write a transaction's status as the body of a merge patch, given the resource as it was."""
    raw: dict[str, Any] = {
        "state": str(status.state),
        "branches": f"{status.settled}/{status.total}",
        "branchesTotal": status.total,
        "branchesSettled": status.settled,
        "message": status.message,
        "conditions": list(_conditions(status, resource, now)),
    }
    if status.steps:
        raw["steps"] = [_step(each) for each in status.steps]
    if status.notifications:
        raw["notifications"] = write_notifications(status.notifications)
    if status.resolutions:
        raw["resolutions"] = status.resolutions
    if status.decided_at is not None:
        raw["decidedAt"] = format_time(status.decided_at)
    if status.settled_at is not None:
        raw["settledAt"] = format_time(status.settled_at)
        begun_at = parse_time(resource["metadata"].get("creationTimestamp"))
        raw["duration"] = duration(status.settled_at - (begun_at or status.settled_at))
    return {"status": raw}


def _step(step: StepStatus) -> dict[str, Any]:
    problem = {"problem": step.problem} if step.problem else {}
    return {"name": step.name, "state": str(step.state), **problem}


def _conditions(status: Status, resource: Mapping[str, Any], now: datetime) -> Iterator[dict[str, Any]]:
    made = condition(CONDITION_SUCCEEDED, status.succeeded, status.reason, status.message, now)
    yield _kept(made, resource)
    if status.notifications:
        yield _kept(_notified(status, now), resource)


def _notified(status: Status, now: datetime) -> dict[str, Any]:
    """Whether all were told; given up is False, whatever else is under way."""
    states = {each.state for each in status.notifications}
    holds, reason = (
        (False, Reason.NOTIFICATION_GIVEN_UP)
        if NotificationState.GIVEN_UP in states
        else (None, Reason.NOTIFICATION_PENDING)
        if NotificationState.PENDING in states
        else (True, Reason.NOTIFIED)
    )
    return condition(CONDITION_NOTIFIED, holds, reason, SENTENCES[reason], now)


def _kept(made: dict[str, Any], resource: Mapping[str, Any]) -> dict[str, Any]:
    """The condition; the time of its last transition stays while its status does."""
    for old in (resource.get("status") or {}).get("conditions", ()):
        same = (old["type"], old["status"]) == (made["type"], made["status"])
        if same and old["lastTransitionTime"] > "1970-01-02":
            made["lastTransitionTime"] = old["lastTransitionTime"]
    return made


def write_report(report: Report, now: datetime) -> dict[str, Any]:
    """Write at a branch why it waits, as the body of a merge patch of its status."""
    return {
        "status": {
            "reason": str(report.reason),
            "message": report.message,
            "conditions": [condition(CONDITION_SUCCEEDED, None, report.reason, report.message, now)],
        }
    }


def write_stamp(outcome: Outcome, transaction: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write outcome and owner of a branch as the body of a merge patch; None: it has no transaction."""
    owners = {} if transaction is None else {"ownerReferences": [owner(transaction)]}
    return {"metadata": UNTRACKED | owners, "spec": {"outcome": str(outcome)}}


def owner(transaction: Mapping[str, Any]) -> dict[str, Any]:
    """Write the owner reference to a transaction; its removal takes the branches with it."""
    metadata = transaction["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": TRANSACTIONS.kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def write_release(resource: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the JSON patch that takes our finalizer off, if it is still where it was seen.

    The rest of the object may have changed meanwhile; other finalizers are left alone.
    """
    at = f"/metadata/finalizers/{resource['metadata']['finalizers'].index(FINALIZER)}"
    return [{"op": "test", "path": at, "value": FINALIZER}, {"op": "remove", "path": at}]


def duration(length: timedelta) -> str:
    """Write a duration for people: ``<1s``, ``42s``, ``3m5s``, ``2h7m`` (births are whole seconds)."""
    total = int(max(length, timedelta()).total_seconds())
    if total < 1:
        return "<1s"
    if total < _MINUTE:
        return f"{total}s"
    if total < _HOUR:
        return f"{total // _MINUTE}m{total % _MINUTE}s"
    return f"{total // _HOUR}h{total % _HOUR // _MINUTE}m"
