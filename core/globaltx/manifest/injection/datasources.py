"""Databases: the names that the application uses lead to a loopback address of their own.

Each datasource has an address (127.0.0.2, 127.0.0.3, ...) on which the sidecar listens at the
database's own port, so that nothing in the application's configuration changes. The entries
hold in every container, the sidecar's too; that no alias is a host to which the sidecar itself
connects was seen to when the policies were merged.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection.patch import add
from globaltx.manifest.injection.pod import containers
from globaltx.manifest.injection.result import RefusedError
from globaltx.manifest.settings import DatasourceSettings
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.coordinator.policy import Datasource
    from globaltx.manifest.injection.result import Operation

FIRST_ADDRESS = ipaddress.IPv4Address("127.0.0.2")
HOSTS_FILE_MOUNTS = frozenset({"/etc", "/etc/hosts"})


@dataclass(frozen=True, slots=True)
class CapturedDatasources:
    """What the capture means for the sidecar's settings and for the rest of the pod."""

    settings: tuple[DatasourceSettings, ...]
    patch: tuple[Operation, ...]


def capture_datasources(pod: dict[str, Any], datasources: Sequence[Datasource]) -> CapturedDatasources:
    """Lead each datasource's aliases to the sidecar.

    Raises:
        RefusedError: a name would not lead to the sidecar.
    """
    if not datasources:
        return CapturedDatasources((), ())
    for datasource in datasources:
        _check_aliases(datasource)
    _check_pod(pod, datasources)
    addresses = [str(FIRST_ADDRESS + index) for index in range(len(datasources))]
    settings = tuple(
        DatasourceSettings(datasource, listen_host=address, listen_port=datasource.port)
        for datasource, address in zip(datasources, addresses, strict=True)
    )
    entries = [
        {"ip": address, "hostnames": list(datasource.aliases)}
        for datasource, address in zip(datasources, addresses, strict=True)
    ]
    if not pod["spec"].get("hostAliases"):
        return CapturedDatasources(settings, (add(entries, "spec", "hostAliases"),))
    return CapturedDatasources(settings, tuple(add(each, "spec", "hostAliases", "-") for each in entries))


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()


def _check_aliases(datasource: Datasource) -> None:
    if not datasource.aliases:
        raise RefusedError(
            Reason.POLICY_INVALID,
            f"datasource {datasource.name!r} has no aliases, so no connection would reach the sidecar; "
            "list the host names that the application connects to",
        )


def _check_pod(pod: dict[str, Any], datasources: Sequence[Datasource]) -> None:
    taken = _names_of(pod)
    for each in datasources:
        for alias in each.aliases:
            if where := taken.get(_canonical(alias)):
                raise RefusedError(
                    Reason.ALIAS_TAKEN,
                    f"the alias {alias!r} of datasource {each.name!r} is taken by the pod's {where}; "
                    "remove it there, or from the policy",
                )
    for container in containers(pod):
        for mount in container.container.get("volumeMounts") or ():
            if mount.get("mountPath", "").rstrip("/") in HOSTS_FILE_MOUNTS:
                raise RefusedError(
                    Reason.ALIAS_TAKEN,
                    f"container {container.name!r} mounts a volume at {mount['mountPath']}, hiding the "
                    "datasources' aliases; mount single files below /etc instead",
                )


def _names_of(pod: dict[str, Any]) -> dict[str, str]:
    """The host names that already mean something in the pod, and where they stand."""
    spec = pod["spec"]
    own = spec.get("hostname") or (pod.get("metadata") or {}).get("name") or ""
    names = {_canonical(own): "own host name"} if own else {}
    for entry in spec.get("hostAliases") or ():
        for name in entry.get("hostnames") or ():
            names[_canonical(name)] = f"hostAliases ({entry.get('ip')})"
    return names
