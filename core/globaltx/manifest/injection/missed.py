"""Pods that should have been injected and were not: no such pod may run unnoticed."""

from __future__ import annotations

from typing import Any

from globaltx.manifest.injection.options import INJECT_ANNOTATION
from globaltx.manifest.injection.pod import has_sidecar, metadata_of

ENDED = frozenset({"Succeeded", "Failed"})


def missed(pod: dict[str, Any]) -> bool:
    """Whether a pod asked for a sidecar, runs or will run, and has none.

    That happens where no webhook looked: the pod is older than it or than its configuration, its
    namespace is left out, or the annotation came later.
    """
    wanted = metadata_of(pod, "annotations").get(INJECT_ANNOTATION, "false") != "false"
    leaving = (pod.get("metadata") or {}).get("deletionTimestamp") is not None
    ended = (pod.get("status") or {}).get("phase") in ENDED
    return wanted and not has_sidecar(pod) and not leaving and not ended
