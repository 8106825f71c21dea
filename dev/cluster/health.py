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
# Where each program is asked: scheme, the name of its port, path.
_QUESTIONS = {
    Component.ETCD: ("http", "etcd", "/readyz"),
    Component.APISERVER: ("https", "apiserver", "/readyz"),
    Component.CONTROLLER_MANAGER: ("https", "controller-manager", "/healthz"),
    Component.SCHEDULER: ("https", "scheduler", "/healthz"),
    Component.KUBELET: ("http", "kubelet-health", "/healthz"),
    Component.PROXY: ("http", "proxy-health", "/livez"),
    Component.COREDNS: ("http", "coredns-ready", "/ready"),
}


def is_ready(settings: Settings, component: Component) -> bool:
    """Whether the program answers that it is ready for work."""
    if component is Component.CONTAINERD:
        return _accepts(f"{settings.folder}/run/containerd.sock")
    scheme, port, path = _QUESTIONS[component]
    return _answers(f"{scheme}://127.0.0.1:{settings.ports[port]}{path}")


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
