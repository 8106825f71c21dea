"""What a pod must not be or have, because the sidecar could not do its work beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection.options import SIDECAR_NAME
from globaltx.manifest.injection.pod import containers
from globaltx.manifest.injection.result import RefusedError

if TYPE_CHECKING:
    from globaltx.manifest.settings import SidecarSettings


def check_shape(pod: dict[str, Any]) -> None:
    """Refuse what is no pod; an API server has seen to that, a file was seen by nobody.

    Raises:
        RefusedError: a part that the injection reads is missing or of another type.
    """
    spec = pod.get("spec")
    if not isinstance(spec, dict) or not spec.get("containers"):
        raise RefusedError(Reason.POD_INVALID, "spec.containers is missing or empty; it must be a list")
    for kind in ("initContainers", "containers"):
        items = _objects(spec.get(kind), f"spec.{kind}")
        for index, container in enumerate(items):
            where = f"spec.{kind}[{index}].ports"
            for port in _objects(container.get("ports"), where):
                if not isinstance(port.get("containerPort"), int):
                    raise RefusedError(Reason.POD_INVALID, f"{where} has one without a number containerPort")


def _objects(value: Any, where: str) -> list[dict[str, Any]]:
    items = value or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise RefusedError(Reason.POD_INVALID, f"{where} must be a list of objects")
    return items


def check_platform(pod: dict[str, Any]) -> None:
    """Refuse where nothing can be captured at all.

    Raises:
        RefusedError: it is such a pod.
    """
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        raise RefusedError(
            Reason.HOST_NETWORK,
            "the pod has hostNetwork: true, so its ports and host names are the node's and nothing can be "
            "captured; leave hostNetwork out, or the annotation",
        )
    system = (spec.get("os") or {}).get("name", "linux")
    if system != "linux":
        raise RefusedError(
            Reason.PLATFORM_UNSUPPORTED,
            f"the pod runs on {system} and the sidecar on Linux only; leave the annotation out",
        )
    if any(each.name == SIDECAR_NAME for each in containers(pod)):
        raise RefusedError(
            Reason.NAME_TAKEN, f"a container of the pod is named {SIDECAR_NAME!r}; give it another name"
        )


def check_volumes(pod: dict[str, Any], ours: list[dict[str, Any]]) -> None:
    """Refuse a volume of a name that the sidecar's have.

    Raises:
        RefusedError: there is one.
    """
    taken = {each.get("name") for each in pod["spec"].get("volumes") or ()}
    for volume in ours:
        if volume["name"] in taken:
            raise RefusedError(
                Reason.NAME_TAKEN,
                f"a volume of the pod is named {volume['name']!r}, as the sidecar's is; give it another name",
            )


def check_ports(pod: dict[str, Any], settings: SidecarSettings) -> None:
    """Refuse ports on which two would listen: a socket on all addresses and ours cannot share one.

    Raises:
        RefusedError: there is one.
    """
    ours = _sidecar_ports(settings)
    for container in containers(pod):
        for port in container.container.get("ports") or ():
            use = ours.get(port["containerPort"])
            if use and port.get("protocol", "TCP") == "TCP":
                raise RefusedError(
                    Reason.PORT_TAKEN,
                    f"container {container.name!r} uses port {port['containerPort']}, which is {use}; "
                    "let the container listen on another port",
                )


def _sidecar_ports(settings: SidecarSettings) -> dict[int, str]:
    fixed = {settings.control_port: "the sidecar's control port"}
    if settings.local_port is not None:
        fixed[settings.local_port] = "the sidecar's local API"
    if settings.http is not None:
        fixed[settings.http.listen_port] = "the sidecar's HTTP port"
    databases = {
        each.listen_port: f"where the sidecar listens for datasource {each.datasource.name!r}"
        for each in settings.datasources
    }
    for number in fixed.keys() & databases.keys():
        raise RefusedError(
            Reason.PORT_TAKEN,
            f"port {number} is {databases[number]}, and it is {fixed[number]}; "
            "let the database listen on another port",
        )
    return fixed | databases
