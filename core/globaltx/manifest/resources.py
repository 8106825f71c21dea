"""GlobalTransaction and Branch: custom resource <-> model.

What a resource looks like stands in ``globaltx.manifest.schemas``. Times in a resource are
RFC 3339 in UTC; the birth of an object is the API server's ``creationTimestamp`` (whole seconds).
"""

from __future__ import annotations

import math
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.conditions import succeeded
from globaltx.manifest.calls import read_calls, write_calls
from globaltx.manifest.conflicts import conflicts_status, read_carried_out, read_resolutions
from globaltx.manifest.declared import read_progress, read_saga
from globaltx.manifest.notify import read_notification, read_notify, write_notification, write_notify
from globaltx.manifest.times import format_time, parse_time
from globaltx.transaction.model import (
    Branch,
    BranchId,
    Decision,
    GlobalTransaction,
    Mode,
    Settlement,
    shorten,
)
from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.transaction.xid import Xid
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

GROUP = "globaltx.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "globaltx-all"
"""``kubectl get globaltx-all`` lists all three kinds."""

FINALIZER = f"{GROUP}/unsettled"
"""Set at creation, removed by the operator once the outcome was carried out everywhere."""
UNTRACKED: dict[str, Any] = {"managedFields": [{}]}
"""Metadata of a patch after which the API server keeps no record of which field was written by whom.

It begins one at the creation and works on it with each write, which is a third of what our writes cost it.
"""
LABEL_TRANSACTION = f"{GROUP}/transaction"
LABEL_APP = f"{GROUP}/app"
LABEL_POLICY = f"{GROUP}/policy"
LABEL_INITIATOR = f"{GROUP}/initiator"
LABEL_LENGTH_MAX = 63

CONDITION_SUCCEEDED = "Succeeded"
CONDITION_NOTIFIED = "Notified"
CONDITION_READY = "Ready"


@dataclass(frozen=True, slots=True)
class Kind:
    """A custom resource by all its names."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


TRANSACTIONS = Kind("GlobalTransaction", "globaltransactions", "globaltransaction", ("globaltx", "gtx"))
BRANCHES = Kind("Branch", "branches", "branch", ("gtxb",))
POLICIES = Kind("TransactionPolicy", "transactionpolicies", "transactionpolicy", ("txpolicy",))


class InvalidResourceError(ValueError):
    """The dictionary is not such a resource; the message names the field."""


def seconds(duration: timedelta) -> int:
    """Round a duration up to the whole seconds that a resource holds."""
    return math.ceil(duration.total_seconds())


def transaction_to_resource(transaction: GlobalTransaction) -> dict[str, Any]:
    """Write the resource that begins a transaction (its status is the operator's)."""
    labels = {LABEL_INITIATOR: transaction.initiator}
    if transaction.policy:
        labels[LABEL_POLICY] = transaction.policy
    spec: dict[str, Any] = {
        "mode": str(transaction.mode),
        "initiator": transaction.initiator,
        "timeoutSeconds": seconds(transaction.timeout),
        "ttlSecondsAfterFinished": seconds(transaction.ttl),
    }
    if transaction.policy:
        spec["policy"] = transaction.policy
    if transaction.begun_by:
        spec["begunBy"] = transaction.begun_by
    if transaction.notify:
        spec["notify"] = write_notify(transaction.notify)
    if transaction.decision is not None:
        spec |= decision_spec(transaction.decision)
    return {
        "apiVersion": API_VERSION,
        "kind": TRANSACTIONS.kind,
        "metadata": {
            "name": transaction.xid.name,
            "namespace": transaction.xid.namespace,
            "labels": labels,
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


def write_decision(decision: Decision) -> dict[str, Any]:
    """Write the merge patch that takes the outcome."""
    return {"metadata": dict(UNTRACKED), "spec": decision_spec(decision)}


def decision_spec(decision: Decision) -> dict[str, Any]:
    """Write the fields of ``spec`` that take the outcome, for the merge patch ``{"spec": ...}``."""
    spec = {"outcome": str(decision.outcome), "outcomeReason": decision.reason}
    if decision.message:
        spec["outcomeMessage"] = shorten(decision.message)
    if decision.by:
        spec["decidedBy"] = decision.by
    return spec


def transaction_from_resource(resource: Mapping[str, Any]) -> GlobalTransaction:
    """Read a GlobalTransaction.

    Raises:
        InvalidResourceError: a field is missing or is not what the schema says.
    """
    try:
        metadata, spec, status = resource["metadata"], resource["spec"], resource.get("status") or {}
        return GlobalTransaction(
            xid=Xid(metadata["namespace"], metadata["name"]),
            initiator=spec["initiator"],
            timeout=timedelta(seconds=spec["timeoutSeconds"]),
            mode=Mode(spec.get("mode", Mode.AT)),
            policy=spec.get("policy", ""),
            ttl=timedelta(seconds=spec["ttlSecondsAfterFinished"]),
            begun_at=parse_time(metadata.get("creationTimestamp")),
            decision=_decision(spec, status),
            state=State(status.get("state", State.ACTIVE)),
            settled_at=parse_time(status.get("settledAt")),
            begun_by=spec.get("begunBy", ""),
            saga=read_saga(spec.get("saga")),
            pivoting="pivotAt" in spec,
            notify=read_notify(spec.get("notify", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(TRANSACTIONS, resource, error) from error


def _decision(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Decision | None:
    if "outcome" not in spec:
        return None
    return Decision(
        outcome=Outcome(spec["outcome"]),
        reason=spec.get("outcomeReason", ""),
        message=spec.get("outcomeMessage", ""),
        by=spec.get("decidedBy", ""),
        at=parse_time(status.get("decidedAt")),
    )


def branch_to_resource(branch: Branch) -> dict[str, Any]:
    """Write the resource that registers a branch (without owner: whoever joins does not know its uid)."""
    spec: dict[str, Any] = {
        "transaction": branch.id.xid.name,
        "app": branch.id.app,
        "resource": branch.id.resource,
        "mode": str(branch.mode),
    }
    if branch.calls is not None:
        spec["calls"] = write_calls(branch.calls)
    if branch.progress is not None:
        spec["conducted"] = True
    if branch.notification is not None:
        spec["notification"] = write_notification(branch.notification)
    if branch.outcome is not None:
        spec["outcome"] = str(branch.outcome)
    return {
        "apiVersion": API_VERSION,
        "kind": BRANCHES.kind,
        "metadata": {
            "name": branch.id.name,
            "namespace": branch.id.xid.namespace,
            "labels": {LABEL_TRANSACTION: branch.id.xid.name, LABEL_APP: branch.id.app},
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    }


def branch_from_resource(resource: Mapping[str, Any]) -> Branch:
    """Read a Branch.

    Raises:
        InvalidResourceError: a field is missing or is not what the schema says.
    """
    try:
        metadata, spec, status = resource["metadata"], resource["spec"], resource.get("status") or {}
        outcome = spec.get("outcome")
        return Branch(
            id=BranchId(Xid(metadata["namespace"], spec["transaction"]), spec["app"], spec["resource"]),
            mode=Mode(spec.get("mode", Mode.AT)),
            outcome=None if outcome is None else Outcome(outcome),
            state=State(status.get("state", State.ACTIVE)),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            calls=read_calls(spec.get("calls")),
            started="startedAt" in status,
            completed=status.get("completed", 0),
            resolutions=read_resolutions(spec),
            carried_out=read_carried_out(status),
            progress=read_progress(status.get("step")) if spec.get("conducted") else None,
            notification=read_notification(spec.get("notification")),
            attempts=status.get("attempts", 0),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid(BRANCHES, resource, error) from error


def settlement_status(settlement: Settlement, now: datetime) -> dict[str, Any]:
    """Write the ``status`` of a settled (or conflicting) branch, with its condition."""
    message = shorten(settlement.message)
    status: dict[str, Any] = {
        "state": str(settlement.state),
        "reason": settlement.reason,
        "message": message,
        "conditions": [
            condition(CONDITION_SUCCEEDED, succeeded(settlement.state), settlement.reason, message, now)
        ],
        **conflicts_status(settlement),
    }
    if settlement.attempts:
        status["attempts"] = settlement.attempts
    if settlement.state in ENDS:
        status["settledAt"] = format_time(now)
    return status


def started_status(now: datetime) -> dict[str, Any]:
    """Write that a branch's work is let through; each time anew, so that a repeat is refused if late."""
    return {"startedAt": format_time(now)}


def completed_status(place: int) -> dict[str, Any]:
    """Write that a step was done, and at which place among the steps of its transaction."""
    return {"completed": place}


def condition(kind: str, holds: bool | None, reason: str, message: str, now: datetime) -> dict[str, Any]:  # noqa: FBT001  a condition has three values
    """Write one entry of ``status.conditions``."""
    return {
        "type": kind,
        "status": "Unknown" if holds is None else str(holds),
        "reason": reason,
        "message": message,
        "lastTransitionTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _invalid(kind: Kind, resource: Mapping[str, Any], error: Exception) -> InvalidResourceError:
    metadata = resource.get("metadata") or {}
    name = f"{metadata.get('namespace', '?')}/{metadata.get('name', '?')}"
    problem = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
    return InvalidResourceError(f"{kind.kind} {name} cannot be read: {problem}")
