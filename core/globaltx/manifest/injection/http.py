"""Inbound HTTP: the name of a port moves from the application's container to the sidecar.

A Service that targets the port by name then reaches the sidecar, which passes on to the number.
The application's own probes and hooks that used the name are given the number, since a name
means a port of the same container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection.patch import remove, replace
from globaltx.manifest.injection.pod import containers
from globaltx.manifest.injection.result import RefusedError
from globaltx.manifest.settings import HTTP_PORT, HttpSettings
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.coordinator.policy import HttpCapture
    from globaltx.manifest.injection.pod import ContainerAt
    from globaltx.manifest.injection.result import Operation

CONTROL_PORT_NAME = "globaltx"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
HOOKS = ("postStart", "preStop")
HANDLERS = ("httpGet", "tcpSocket")


@dataclass(frozen=True, slots=True)
class CapturedHttp:
    """What the capture means for the sidecar's settings, its ports and the rest of the pod."""

    settings: HttpSettings
    port: dict[str, Any]
    patch: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class _PortAt:
    owner: ContainerAt
    index: int
    port: dict[str, Any]


def capture_http(pod: dict[str, Any], capture: HttpCapture) -> CapturedHttp:
    """Take the named port over.

    Raises:
        RefusedError: there is no such port, or more than one, or it is not one that HTTP can use.
    """
    found = _the_port(pod, capture.port)
    number = int(found.port["containerPort"])
    where = (*found.owner.where, "ports", found.index)
    patch = [remove(*where, "name"), *_by_number(found.owner, capture.port, number)]
    port = {"name": capture.port, "containerPort": HTTP_PORT, "protocol": "TCP"}
    if found.port.get("hostPort"):
        port["hostPort"] = found.port["hostPort"]
        patch.append(remove(*where, "hostPort"))
    settings = HttpSettings(
        upstream_port=number,
        routes=capture.routes,
        edge=capture.edge,
        joins_by_trace=capture.joins_by_trace,
    )
    return CapturedHttp(settings, port, tuple(patch))


def _the_port(pod: dict[str, Any], name: str) -> _PortAt:
    found = [
        _PortAt(each, index, port)
        for each in containers(pod)
        for index, port in enumerate(each.container.get("ports") or ())
        if port.get("name") == name
    ]
    if not found:
        raise RefusedError(Reason.PORT_NOT_NAMED, _no_such_port(pod, name))
    if len(found) > 1:
        owners = " and ".join(repr(each.owner.name) for each in found)
        raise RefusedError(
            Reason.PORT_AMBIGUOUS,
            f"the containers {owners} both have a port named {name!r}; "
            "only one can be captured: give the other another name",
        )
    _check(found[0], name)
    return found[0]


def _no_such_port(pod: dict[str, Any], name: str) -> str:
    ports = [port for each in containers(pod) for port in each.container.get("ports") or ()]
    named = sorted({str(port["name"]) for port in ports if port.get("name")})
    numbers = sorted({int(port["containerPort"]) for port in ports if not port.get("name")})
    there = [f"the named ports {', '.join(named)}"] * bool(named)
    there += [f"ports without a name: {', '.join(map(str, numbers))}"] * bool(numbers)
    return (
        f"no container has a port named {name!r}, which the policy captures "
        f"(the pod has {' and '.join(there) or 'no ports'}); name the container port and let the Service "
        "target that name, or narrow the policy's selector"
    )


def _check(found: _PortAt, name: str) -> None:
    if found.port.get("protocol", "TCP") != "TCP":
        raise RefusedError(
            Reason.PORT_NOT_NAMED,
            f"the port {name!r} of container {found.owner.name!r} is {found.port['protocol']}, "
            "HTTP is captured on TCP only; name the TCP port in the policy",
        )
    if name == CONTROL_PORT_NAME:
        raise RefusedError(
            Reason.PORT_TAKEN,
            f"the sidecar's own control port is named {name!r}; give the application's port another name",
        )


def _by_number(owner: ContainerAt, name: str, number: int) -> Iterator[Operation]:
    container = owner.container
    hooks = container.get("lifecycle") or {}
    callers: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        *(((probe,), container.get(probe) or {}) for probe in PROBES),
        *((("lifecycle", hook), hooks.get(hook) or {}) for hook in HOOKS),
    ]
    for steps, caller in callers:
        for handler in HANDLERS:
            if (caller.get(handler) or {}).get("port") == name:
                yield replace(number, *owner.where, *steps, handler, "port")
