"""What the injection reads of a pod: its containers, ports, names and whether it asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection.options import APP_ANNOTATION, INJECT_ANNOTATION, SIDECAR_NAME
from globaltx.manifest.injection.result import RefusedError
from globaltx.transaction.model import APP_LENGTH_MAX
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

APP_LABELS = ("app.kubernetes.io/name", "app")
HASH_LABELS = ("pod-template-hash", "rollouts-pod-template-hash")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_CRON_SUFFIX = re.compile(r"-\d{8,10}$")


@dataclass(frozen=True, slots=True)
class ContainerAt:
    """A container and the steps of the pointer that leads to it."""

    container: dict[str, Any]
    where: tuple[str | int, ...]

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.container.get("name", "?"))


def metadata_of(pod: dict[str, Any], part: str) -> dict[str, str]:
    """The pod's labels or annotations."""
    return (pod.get("metadata") or {}).get(part) or {}


def asked(pod: dict[str, Any]) -> bool:
    """Whether the pod wants a sidecar.

    Raises:
        RefusedError: the annotation says neither yes nor no; a typo must not leave a pod without.
    """
    value = metadata_of(pod, "annotations").get(INJECT_ANNOTATION)
    if value not in {None, "true", "false"}:
        raise RefusedError(
            Reason.INVALID_ANNOTATION,
            f'the annotation {INJECT_ANNOTATION} is {value!r}; write "true" or "false"',
        )
    return value == "true"


def containers(pod: dict[str, Any]) -> Iterator[ContainerAt]:
    """All containers, the init containers first."""
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod["spec"].get(kind) or ()):
            yield ContainerAt(container, ("spec", kind, index))


def has_sidecar(pod: dict[str, Any]) -> bool:
    """Whether our container is where the injection puts it."""
    inits = (pod.get("spec") or {}).get("initContainers") or ()
    return any(each.get("name") == SIDECAR_NAME for each in inits)


def app_of(pod: dict[str, Any]) -> str:
    """The app id: annotation, label, or the name of the workload that owns the pod.

    Raises:
        RefusedError: there is none, or it cannot be part of a Lease's name.
    """
    source, app = _named_app(pod)
    if len(app) > APP_LENGTH_MAX or not _DNS_LABEL.fullmatch(app):
        raise RefusedError(
            Reason.APP_UNKNOWN,
            f"the {source} says {app!r}, which is not a name of at most {APP_LENGTH_MAX} lower-case letters, "
            f"digits and '-'; set the annotation {APP_ANNOTATION} of the pod template",
        )
    return app


def _named_app(pod: dict[str, Any]) -> tuple[str, str]:
    if app := metadata_of(pod, "annotations").get(APP_ANNOTATION):
        return f"annotation {APP_ANNOTATION}", app
    for label in APP_LABELS:
        if app := metadata_of(pod, "labels").get(label):
            return f"label {label}", app
    for owner in (pod.get("metadata") or {}).get("ownerReferences") or ():
        if owner.get("controller"):
            return f"name of the {owner['kind']}", _workload(owner, metadata_of(pod, "labels"))
    raise RefusedError(
        Reason.APP_UNKNOWN,
        "the pod names no app and no workload owns it; "
        f"set the annotation {APP_ANNOTATION} or the label {APP_LABELS[0]}",
    )


def _workload(owner: dict[str, Any], labels: dict[str, str]) -> str:
    """The name that stays the same over rollouts: without a ReplicaSet's hash or a CronJob's time."""
    name: str = owner["name"]
    if owner["kind"] == "Job":
        return _CRON_SUFFIX.sub("", name)
    for label in HASH_LABELS:
        if suffix := labels.get(label):
            name = name.removesuffix(f"-{suffix}")
    return name
