"""What is wrong with a policy, or with a declared saga, before it is written, beside what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator import egress
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.check import filled
from globaltx.manifest.declared import problems, read_saga
from globaltx.manifest.injection import Refused
from globaltx.manifest.notify import read_notify
from globaltx.manifest.policy import InvalidPolicyError, conflicts, may_meet, read_policy
from globaltx.manifest.schemas.declared import saga as saga_schema
from globaltx.manifest.schemas.notify import notify as notify_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from globaltx.coordinator.policy import Policy
    from globaltx.transaction.notification import Notify


def refusal(resource: dict[str, Any], others: Iterable[dict[str, Any]]) -> Refused | None:
    """Why a policy must not be written beside the ``others`` of its namespace; None when it may.

    Two policies contradict each other only where one pod can be selected by both. Of the others,
    one that cannot be read is left out: it is reported at itself.
    """
    try:
        policy = read_policy(resource)
    except InvalidPolicyError as error:
        return Refused(Reason.POLICY_INVALID, str(error))
    found = [
        problem
        for other in _readable(others)
        if other.name != policy.name and may_meet(policy, other)
        for problem in conflicts((policy, other))
    ]
    return Refused(Reason.POLICY_CONFLICT, "; ".join(found)) if found else None


def saga_refusal(resource: dict[str, Any], policy: dict[str, Any] | None) -> Refused | None:
    """Why a transaction that declares a saga must not be written beside the policy that it names."""
    try:
        spec = resource.get("spec") or {}
        plan = read_saga(filled(saga_schema(), spec.get("saga")))
        wishes = read_notify(filled(notify_schema(""), spec.get("notify") or []))
        beside = None if policy is None else read_policy(policy)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Refused(Reason.SAGA_INVALID, f"it cannot be read: {error}")
    if plan is None:
        return None
    if beside is None:
        return Refused(
            Reason.NO_POLICY, "there is no TransactionPolicy of the name in spec.policy; apply it first"
        )
    if beside.egress is None:
        message = f"the policy {beside.name} has no saga.egress; add it there"
        return Refused(Reason.DESTINATION_NOT_ALLOWED, message)
    found = [f"spec.saga.{each}" for each in problems(plan, beside.egress)]
    found += _not_told(wishes, beside)
    return Refused(Reason.SAGA_INVALID, "; ".join(found)) if found else None


def _not_told(wishes: Iterable[Notify], policy: Policy) -> Iterator[str]:
    """Which notifications of a transaction would only be given up."""
    allowed = () if policy.notifying is None else policy.notifying.egress
    for each in wishes:
        if told := egress.refusal(each.url, allowed, "notify.egress"):
            yield f"spec.notify[{each.name}].url: {told}"


def _readable(resources: Iterable[dict[str, Any]]) -> Iterator[Policy]:
    for resource in resources:
        try:
            yield read_policy(resource)
        except InvalidPolicyError:
            continue


def matters(new: dict[str, Any], old: dict[str, Any] | None) -> bool:
    """Whether a write can make it wrong: not while it goes away, nor when its spec stays."""
    if (new.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return old is None or new.get("spec") != old.get("spec")
