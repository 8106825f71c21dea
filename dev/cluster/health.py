"""Asking the programs whether they are ready."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any

from dev.cluster.state import Component

if TYPE_CHECKING:
    from dev.cluster.state import Settings

_TIMEOUT = 5


def is_ready(settings: Settings, component: Component) -> bool:
    """Whether the program answers that it is ready for work."""
    ports = settings.ports
    match component:
        case Component.ETCD:
            return _answers(f"http://127.0.0.1:{ports['etcd']}/readyz")
        case Component.APISERVER:
            return _answers(f"{settings.server}/readyz")
        case Component.CONTROLLER_MANAGER:
            return _answers(f"https://127.0.0.1:{ports['controller-manager']}/healthz")
        case Component.SCHEDULER:
            return _answers(f"https://127.0.0.1:{ports['scheduler']}/healthz")
        case Component.CONTAINERD:
            return _accepts(f"{settings.folder}/run/containerd.sock")
        case Component.KUBELET:
            return _answers(f"http://127.0.0.1:{ports['kubelet-health']}/healthz")
        case Component.PROXY:
            return _answers(f"http://127.0.0.1:{ports['proxy-health']}/livez")
        case Component.COREDNS:
            return _answers(f"http://127.0.0.1:{ports['coredns-ready']}/ready")


def read(settings: Settings, path: str) -> dict[str, Any] | None:
    """An object of the API by its path, read as the administrator; None where it is not (yet) there."""
    context = _trust()
    pki = settings.folder / "pki"
    try:
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        body = _get(settings.server + path, context)
        found = json.loads(body)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def node_is_ready(settings: Settings) -> bool:
    """Whether the node says of itself that it takes pods."""
    node = read(settings, f"/api/v1/nodes/{settings.node}")
    conditions = node["status"].get("conditions", []) if node else []
    return any(held["type"] == "Ready" and held["status"] == "True" for held in conditions)


def _answers(url: str) -> bool:
    try:
        _get(url, _trust())
    except OSError:
        return False
    return True


def _get(url: str, context: ssl.SSLContext) -> bytes:
    # No proxy of the machine stands between us and our own loopback.
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(url, timeout=_TIMEOUT) as answer:
        body: bytes = answer.read()
    return body


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TIMEOUT)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _trust() -> ssl.SSLContext:
    # Two of the programs sign their own certificate at each start, and all
    # that is asked of them comes from this machine.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
