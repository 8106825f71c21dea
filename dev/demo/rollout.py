"""Waiting for deployments, and saying early when a pod of theirs will not come up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dev.errors import ToolError
from dev.waiting import wait_for

if TYPE_CHECKING:
    from dev.demo.kubectl import Kubectl

SECONDS = 180
RESTARTS_MAX = 2
_HOPELESS = {"ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"}


def rolled_out(kubectl: Kubectl, namespace: str, name: str) -> None:
    """Wait until every pod of a deployment is of its present template, and ready."""
    wait_for(
        f"deployment/{name} in namespace {namespace}",
        lambda: _is_out(kubectl, namespace, name),
        seconds=SECONDS,
        every=0.5,
    )


def replaced(kubectl: Kubectl, namespace: str, name: str) -> None:
    """Wait until no pod of an earlier template is left, not even one that is ending.

    An operator that is ending still answers the API server over connections that it has open, and
    injects what it knows.
    """
    deployment = kubectl.json("-n", namespace, f"deployment/{name}")
    selector, wanted = _selector(deployment), deployment["spec"]["replicas"]
    wait_for(
        f"the end of earlier pods of deployment/{name} in namespace {namespace}",
        lambda: len(kubectl.json("-n", namespace, "pods", "-l", selector)["items"]) <= wanted,
        seconds=SECONDS,
        every=0.5,
    )


def _selector(deployment: dict[str, Any]) -> str:
    labels = deployment["spec"]["selector"]["matchLabels"]
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _is_out(kubectl: Kubectl, namespace: str, name: str) -> bool:
    deployment = kubectl.json("-n", namespace, f"deployment/{name}")
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
    if status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3:
        return True
    _look_for_hopeless(kubectl, namespace, deployment)
    return False


def _look_for_hopeless(kubectl: Kubectl, namespace: str, deployment: dict[str, Any]) -> None:
    selector = _selector(deployment)
    pods = kubectl.json("-n", namespace, "pods", "-l", selector, "--sort-by=.metadata.creationTimestamp")
    newest = pods["items"][-1:]  # those of an older template may well be broken
    for pod in newest:
        status = pod.get("status", {})
        containers = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        for container in containers:
            why = _why_hopeless(container)
            if why:
                message = f"pod {pod['metadata']['name']}, container {container['name']}: {why}"
                raise ToolError(message)


def _why_hopeless(container: dict[str, Any]) -> str | None:
    waiting = container.get("state", {}).get("waiting", {})
    if waiting.get("reason") in _HOPELESS:
        return f"{waiting['reason']}: {waiting.get('message', '')} (image {container['image']})"
    if container.get("restartCount", 0) > RESTARTS_MAX and not container.get("ready"):
        return f"it ended {container['restartCount']} times; its log tells why"
    return None
