"""The injection's one decision: pod and policies in, patch or refusal out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection.checks import check_platform, check_ports, check_shape, check_volumes
from globaltx.manifest.injection.datasources import capture_datasources
from globaltx.manifest.injection.http import capture_http
from globaltx.manifest.injection.options import POLICIES_ANNOTATION
from globaltx.manifest.injection.patch import add, below
from globaltx.manifest.injection.pod import app_of, asked, has_sidecar
from globaltx.manifest.injection.result import Injected, Refused, RefusedError, Unchanged
from globaltx.manifest.injection.selection import policy_for
from globaltx.manifest.injection.sidecar import sidecar_container, sidecar_volumes
from globaltx.manifest.settings import LOCAL_PORT, SidecarSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from globaltx.coordinator.policy import Policy
    from globaltx.manifest.injection.options import InjectionOptions
    from globaltx.manifest.injection.result import Injection, Operation

TEMPLATES: dict[str, tuple[str, ...]] = {
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Rollout": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}
"""Where each kind of workload holds its pod template."""


def inject(
    pod: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, *, namespace: str
) -> Injection:
    """Decide how a pod of ``namespace`` takes part, given all policies of the namespace.

    The patch applies to the pod object. Nothing is changed in ``pod``.
    """
    try:
        if not asked(pod):
            return Unchanged("the pod does not ask for a sidecar")
        if has_sidecar(pod):
            return Unchanged("the pod has its sidecar already")
        return _injected(pod, policies, options, namespace)
    except RefusedError as error:
        return Refused(error.reason, str(error))


def inject_workload(
    manifest: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, *, namespace: str
) -> Injection:
    """Do the same to whatever holds a pod template (Deployment, Job, CronJob, ...), or to a Pod.

    The patch applies to ``manifest``. A kind without a pod template is `Unchanged`.
    """
    kind = str(manifest.get("kind"))
    if kind == "Pod":
        return inject(manifest, policies, options, namespace=namespace)
    if kind not in TEMPLATES:
        return Unchanged(f"a {kind} has no pod template")
    pod: Any = manifest
    for step in TEMPLATES[kind]:
        pod = pod.get(step) or {}
    owner = {"kind": kind, "name": (manifest.get("metadata") or {}).get("name", ""), "controller": True}
    owned = {**pod, "metadata": {**(pod.get("metadata") or {}), "ownerReferences": [owner]}}
    injection = inject(owned, policies, options, namespace=namespace)
    if not isinstance(injection, Injected):
        return injection
    return Injected(below(TEMPLATES[kind], injection.patch), injection.settings)


def _injected(
    pod: dict[str, Any], policies: Sequence[Policy], options: InjectionOptions, namespace: str
) -> Injected:
    check_shape(pod)
    check_platform(pod)
    policy = policy_for(pod, policies, namespace)
    http = None if policy.http is None else capture_http(pod, policy.http)
    databases = capture_datasources(pod, policy.datasources)
    settings = SidecarSettings(
        namespace=namespace,
        app=app_of(pod),
        policies=policy.names,
        http=None if http is None else http.settings,
        datasources=databases.settings,
        lock_wait=policy.lock_wait,
        ttl=policy.ttl,
        etcd=options.etcd,
        local_port=LOCAL_PORT,
        egress=policy.egress,
        notifying=policy.notifying,
    )
    check_ports(pod, settings)
    patch = (
        *(() if http is None else http.patch),
        *databases.patch,
        *_add_sidecar(pod, settings, options, [] if http is None else [http.port]),
    )
    return Injected(patch, settings)


def _add_sidecar(
    pod: dict[str, Any], settings: SidecarSettings, options: InjectionOptions, ports: list[dict[str, Any]]
) -> Iterator[Operation]:
    spec = pod["spec"]
    volumes = sidecar_volumes(settings)
    check_volumes(pod, volumes)
    yield from _append(spec, "volumes", volumes)
    secrets = [{"name": name} for name in options.image_pull_secrets]
    there = spec.get("imagePullSecrets") or ()
    yield from _append(spec, "imagePullSecrets", [each for each in secrets if each not in there])
    yield add(",".join(settings.policies), "metadata", "annotations", POLICIES_ANNOTATION)
    container = sidecar_container(settings, options, ports)
    if spec.get("initContainers"):
        yield add(container, "spec", "initContainers", 0)
    else:
        yield add([container], "spec", "initContainers")


def _append(spec: dict[str, Any], member: str, items: list[dict[str, Any]]) -> Iterator[Operation]:
    if not items:
        return
    if spec.get(member):
        yield from (add(item, "spec", member, "-") for item in items)
    else:
        yield add(items, "spec", member)
