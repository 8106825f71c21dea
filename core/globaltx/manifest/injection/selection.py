"""Which policies hold for a pod, as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection.pod import metadata_of
from globaltx.manifest.injection.result import RefusedError
from globaltx.manifest.policy import PolicyConflictError, merge, selects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.coordinator.policy import Policy
    from globaltx.manifest.policy import Merged


def policy_for(pod: dict[str, Any], policies: Sequence[Policy], namespace: str) -> Merged:
    """Merge the policies that select the pod.

    Raises:
        RefusedError: none does, or they contradict each other.
    """
    labels = metadata_of(pod, "labels")
    chosen = [policy for policy in policies if selects(policy, labels)]
    if not chosen:
        raise RefusedError(Reason.NO_POLICY, _nothing_selects(labels, policies, namespace))
    try:
        return merge(chosen)
    except PolicyConflictError as error:
        raise RefusedError(Reason.POLICY_CONFLICT, str(error)) from error


def _nothing_selects(labels: dict[str, str], policies: Sequence[Policy], namespace: str) -> str:
    if not policies:
        return (
            f"there is no TransactionPolicy in namespace {namespace!r}; apply one before the pod is created, "
            "or leave the annotation out"
        )
    wanted = "; ".join(f"{each.name} wants {_written(each.selector)}" for each in policies)
    return (
        f"no TransactionPolicy in namespace {namespace!r} selects the pod with its labels "
        f"{_written(labels)} ({wanted}); change the labels or a selector, or leave the annotation out"
    )


def _written(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or "none"
