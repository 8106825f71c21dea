"""The container that is injected, and the volumes that only it mounts.

It holds to Pod Security `restricted`: https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.manifest.injection.http import CONTROL_PORT_NAME
from globaltx.manifest.injection.options import SIDECAR_NAME
from globaltx.manifest.policy import secrets_of
from globaltx.manifest.settings import (
    CREDENTIALS_FOLDER,
    ETCD_FOLDER,
    NOTIFY_FOLDER,
    SETTINGS_VARIABLE,
    TOKEN_FOLDER,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.coordinator.policy import Datasource
    from globaltx.manifest.injection.options import InjectionOptions, Resources
    from globaltx.manifest.settings import SidecarSettings

TOKEN_VOLUME = "globaltx-token"  # noqa: S105  a volume, not a secret
CREDENTIALS_VOLUME = "globaltx-credentials"
ETCD_VOLUME = "globaltx-etcd"
NOTIFY_VOLUME = "globaltx-notify"
TOKEN_SECONDS = 3600
START_SECONDS_MAX = 60


def sidecar_container(
    settings: SidecarSettings, options: InjectionOptions, captured: list[dict[str, Any]]
) -> dict[str, Any]:
    """A native sidecar: it starts before every other container and stops after them.

    It counts as started once it listens (``/healthz``); whether the store and the databases
    answer is left to readiness, so that an application can start while they are away.
    """
    control = {"name": CONTROL_PORT_NAME, "containerPort": settings.control_port, "protocol": "TCP"}
    return {
        "name": SIDECAR_NAME,
        "image": options.image,
        "imagePullPolicy": options.image_pull_policy,
        "restartPolicy": "Always",
        "env": _environment(settings),
        "ports": [*captured, control],
        "startupProbe": _probe("/healthz", periodSeconds=1, failureThreshold=START_SECONDS_MAX),
        "livenessProbe": _probe("/healthz", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
        "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=3, failureThreshold=2),
        "resources": _resources(options.resources),
        "securityContext": _security_context(options.user),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(settings),
    }


def sidecar_volumes(settings: SidecarSettings) -> list[dict[str, Any]]:
    """The token with which it speaks to the API server, the accounts of phase two, what TLS needs."""
    token = {
        "name": TOKEN_VOLUME,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", **_field("metadata.namespace")}]}},
            ]
        },
    }
    sources = [source for each in settings.datasources for source in _credentials(each.datasource)]
    entering = [{"secret": {"name": name}} for name in (settings.etcd.secrets if settings.etcd else ())]
    return [
        token,
        *([{"name": CREDENTIALS_VOLUME, "projected": {"sources": sources}}] if sources else []),
        *([{"name": ETCD_VOLUME, "projected": {"sources": entering}}] if entering else []),
        *([] if settings.notifying is None else [_signing(settings.notifying.secret)]),
    ]


def _signing(secret: str) -> dict[str, Any]:
    """Optional, because nothing waits for a notification: without a key it is given up in plain sight."""
    items = [{"key": key, "path": key} for key in ("key", "previous-key")]
    source = {"secret": {"name": secret, "items": items, "optional": True}}
    return {"name": NOTIFY_VOLUME, "projected": {"sources": [source]}}


def _credentials(datasource: Datasource) -> Iterator[dict[str, Any]]:
    for secret, keys in secrets_of(datasource):
        items = [{"key": key, "path": f"{datasource.name}/{key}"} for key in keys]
        yield {"secret": {"name": secret, "items": items}}


def _mounts(settings: SidecarSettings) -> list[dict[str, Any]]:
    mounts = [{"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True}]
    if settings.datasources:
        mounts.append({"name": CREDENTIALS_VOLUME, "mountPath": CREDENTIALS_FOLDER, "readOnly": True})
    if settings.etcd and settings.etcd.secrets:
        mounts.append({"name": ETCD_VOLUME, "mountPath": ETCD_FOLDER, "readOnly": True})
    if settings.notifying is not None:
        mounts.append({"name": NOTIFY_VOLUME, "mountPath": NOTIFY_FOLDER, "readOnly": True})
    return mounts


def _environment(settings: SidecarSettings) -> list[dict[str, Any]]:
    return [
        {"name": SETTINGS_VARIABLE, "value": settings.to_json()},
        {"name": "POD_NAME", "valueFrom": _field("metadata.name")},
        {"name": "POD_NAMESPACE", "valueFrom": _field("metadata.namespace")},
    ]


def _field(path: str) -> dict[str, Any]:
    return {"fieldRef": {"fieldPath": path}}


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": CONTROL_PORT_NAME}, **timing}


def _resources(resources: Resources) -> dict[str, Any]:
    requests = {"cpu": resources.cpu_request, "memory": resources.memory_request}
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    both = {"requests": _stated(requests), "limits": _stated(limits)}
    return {kind: quantities for kind, quantities in both.items() if quantities}


def _stated(quantities: dict[str, str]) -> dict[str, str]:
    return {name: quantity for name, quantity in quantities.items() if quantity}


def _security_context(user: int) -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": user,
        "runAsNonRoot": True,
        "runAsUser": user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
