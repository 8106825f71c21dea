"""What is wrong with a policy, or with a declared saga, before it is written, beside what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.check import filled
from globaltx.manifest.declared import problems, read_saga
from globaltx.manifest.injection import Refused
from globaltx.manifest.policy import InvalidPolicyError, conflicts, may_meet, read_policy
from globaltx.manifest.schemas.declared import saga as saga_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from globaltx.coordinator.policy import Policy


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
        plan = read_saga(filled(saga_schema(), (resource.get("spec") or {}).get("saga")))
        egress = None if policy is None else read_policy(policy).egress
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Refused(Reason.SAGA_INVALID, f"it cannot be read: {error}")
    if plan is None:
        return None
    if policy is None:
        return Refused(
            Reason.NO_POLICY, "there is no TransactionPolicy of the name in spec.policy; apply it first"
        )
    if egress is None:
        name = policy["metadata"]["name"]
        return Refused(Reason.DESTINATION_NOT_ALLOWED, f"the policy {name} has no saga.egress; add it there")
    found = list(problems(plan, egress))
    return Refused(Reason.SAGA_INVALID, "; ".join(f"spec.saga.{each}" for each in found)) if found else None


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
