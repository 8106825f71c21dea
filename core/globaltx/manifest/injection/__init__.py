"""From a pod and the policies of its namespace to a pod with a sidecar: pure, a JSON patch.

The webhook, ``globaltx inject`` and the golden tests call the same function.
"""

from globaltx.manifest.injection.inject import inject, inject_workload
from globaltx.manifest.injection.missed import missed
from globaltx.manifest.injection.options import (
    APP_ANNOTATION,
    INJECT_ANNOTATION,
    POLICIES_ANNOTATION,
    SIDECAR_NAME,
    InjectionOptions,
    Resources,
)
from globaltx.manifest.injection.patch import apply
from globaltx.manifest.injection.pod import has_sidecar, metadata_of
from globaltx.manifest.injection.result import Injected, Injection, Operation, Refused, Unchanged

__all__ = [
    "APP_ANNOTATION",
    "INJECT_ANNOTATION",
    "POLICIES_ANNOTATION",
    "SIDECAR_NAME",
    "Injected",
    "Injection",
    "InjectionOptions",
    "Operation",
    "Refused",
    "Resources",
    "Unchanged",
    "apply",
    "has_sidecar",
    "inject",
    "inject_workload",
    "metadata_of",
    "missed",
]
