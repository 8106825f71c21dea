"""What is wrong with a TransactionPolicy before it is written, alone and beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection import Refused
from globaltx.manifest.policy import InvalidPolicyError, conflicts, may_meet, read_policy

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


def _readable(resources: Iterable[dict[str, Any]]) -> Iterator[Policy]:
    for resource in resources:
        try:
            yield read_policy(resource)
        except InvalidPolicyError:
            continue


def matters(new: dict[str, Any], old: dict[str, Any] | None) -> bool:
    """Whether a write can make a policy wrong: not while it goes away, nor when its spec stays."""
    if (new.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return old is None or new.get("spec") != old.get("spec")
