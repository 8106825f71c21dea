"""Which pods take part, and whether they do so by the policies as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection import INJECT_ANNOTATION, SIDECAR_NAME
from globaltx.manifest.policy import selects
from globaltx.manifest.settings import SETTINGS_VARIABLE, SidecarSettings
from globaltx_cli.findings import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from globaltx.coordinator.policy import Policy

Resource = dict[str, Any]
_ENDED = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Door:
    """Where an app is reached: a pod, and the port at which its sidecar listens."""

    pod: str
    port: int


def door_of(pods: Sequence[Resource], app: str) -> Door | None:
    """The first pod whose sidecar is ready and takes HTTP over for an app; None if there is none."""
    for pod in pods:
        sidecar = _sidecar(pod)
        if sidecar is None or not _asks(pod) or not _ready(pod):
            continue
        try:
            settings = SidecarSettings.from_json(_variable(sidecar, SETTINGS_VARIABLE))
        except ValueError:
            continue
        if settings.app == app and settings.http is not None:
            return Door(pod["metadata"]["name"], settings.http.listen_port)
    return None


def check_pods(pods: Sequence[Resource], policies: Sequence[Policy]) -> Iterator[Finding]:
    """Look at each pod that asks for injection, and for policies that no pod is under."""
    asking = [pod for pod in pods if _asks(pod)]
    for pod in asking:
        yield _pod(pod, policies)
    for policy in policies:
        if not any(selects(policy, pod["metadata"].get("labels") or {}) for pod in asking):
            sentence = (
                f'selects no pod with the annotation {INJECT_ANNOTATION}: "true"; '
                "compare its selector with the pods' labels"
            )
            yield Finding(Level.WARNING, f"policy {policy.name}", sentence)


def _asks(pod: Resource) -> bool:
    annotations = pod["metadata"].get("annotations") or {}
    ended = (pod.get("status") or {}).get("phase") in _ENDED
    return annotations.get(INJECT_ANNOTATION) == "true" and not ended


def _pod(pod: Resource, policies: Sequence[Policy]) -> Finding:
    subject = f"pod {pod['metadata']['name']}"
    sidecar = _sidecar(pod)
    if sidecar is None:
        sentence = "asks for injection and has no sidecar: is the webhook there? Then delete the pod"
        return Finding(Level.PROBLEM, subject, sentence)
    try:
        settings = SidecarSettings.from_json(_variable(sidecar, SETTINGS_VARIABLE))
    except ValueError as error:
        return Finding(Level.PROBLEM, subject, f"its sidecar's settings cannot be read: {error}")
    selected = [each for each in policies if selects(each, pod["metadata"].get("labels") or {})]
    stale = [each.name for each in selected if not _follows(settings, each)]
    if stale:
        sentence = f"runs by an older state of policy {', '.join(stale)}: restart it"
        return Finding(Level.WARNING, subject, sentence)
    if not _ready(pod):
        return Finding(Level.PROBLEM, subject, f"its sidecar is not ready: kubectl logs -c {SIDECAR_NAME}")
    return Finding(Level.OK, subject, f"takes part as app {settings.app}")


def _follows(settings: SidecarSettings, policy: Policy) -> bool:
    datasources = [each.datasource for each in settings.datasources]
    routes = settings.http.routes if settings.http else ()
    return (
        policy.name in settings.policies
        and all(each in datasources for each in policy.datasources)
        and (policy.http is None or all(each in routes for each in policy.http.routes))
    )


def _sidecar(pod: Resource) -> Resource | None:
    containers: list[Resource] = pod["spec"].get("initContainers") or []
    return next((each for each in containers if each["name"] == SIDECAR_NAME), None)


def _variable(container: Resource, name: str) -> str:
    variables = container.get("env") or ()
    return next((str(each.get("value", "")) for each in variables if each["name"] == name), "")


def _ready(pod: Resource) -> bool:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return any(each["name"] == SIDECAR_NAME and each.get("ready") for each in statuses)
