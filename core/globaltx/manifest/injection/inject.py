"""The injection's one decision: pod and policies in, patch or refusal out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection.result import RefusedError, Unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.coordinator.policy import Policy
    from globaltx.manifest.injection.options import InjectionOptions
    from globaltx.manifest.injection.result import Injection


def inject(
    pod: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, *, namespace: str
) -> Injection:
    """Decide how a pod of ``namespace`` takes part, given all policies of the namespace.

    The patch applies to the pod object. Nothing is changed in ``pod``.
    """
    try:
        return _inject(pod, policies, options, namespace)
    except RefusedError as error:
        return error.refused


def inject_workload(
    manifest: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, *, namespace: str
) -> Injection:
    """Do the same to whatever holds a pod template (Deployment, Job, CronJob, ...), or to a Pod.

    The patch applies to ``manifest``. A kind without a pod template is `Unchanged`.
    """
    raise NotImplementedError


def _inject(
    pod: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, namespace: str
) -> Injection:
    raise NotImplementedError


_ = Unchanged
