"""What the operator is told, by flags or by variables of the environment (the flag goes first)."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from globaltx import __version__
from globaltx.manifest.injection import InjectionOptions, Resources
from globaltx.manifest.settings import ETCD_FOLDER, EtcdSettings
from globaltx.stores.etcd.access import DEFAULT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def _identity() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything that one replica needs to know at its start."""

    namespace: str
    """Its own, where its Lease lives."""
    namespaces: tuple[str, ...] = ()
    """Those that it serves; empty: all."""
    lease: str = "globaltx-operator"
    lease_seconds: float = 15.0
    """How long the Lease of a crashed leader holds the others off."""
    identity: str = field(default_factory=_identity)
    """Unique among living replicas."""
    host: str = "0.0.0.0"  # noqa: S104  the pod's own address is not known beforehand
    port: int = 8080
    webhook_port: int = 9443
    webhook_service: str = "globaltx-webhook"
    webhook_secret: str = "globaltx-webhook-certificate"  # noqa: S105  the name of one
    webhook_configuration: str = "globaltx"
    injection: InjectionOptions | None = None
    """How what is injected looks; without it no webhook is served."""
    etcd: EtcdSettings | None = None
    """The etcd that transactions are kept in; None: in Kubernetes."""
    etcd_credentials: Path = Path(ETCD_FOLDER)
    etcd_bundled: str = ""
    """The name of the chart's own etcd, whose certificates and users are made here; empty: it has none."""
    etcd_compact_seconds: float = 300.0
    etcd_projection_rate: float = 50.0
    """Writes a second by which transactions in etcd are shown as resources; 0: none are."""
    workers: int = 16
    log_level: str = "info"


_LEVELS = ("debug", "info", "warning", "error")


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Make the parser of the flags; each has a variable ``GLOBALTX_<FLAG>``."""
    made = argparse.ArgumentParser(
        prog="globaltx-operator",
        description="Reconciles GlobalTransactions, Branches and TransactionPolicies, and injects sidecars.",
        epilog="Each flag may be given as a variable instead: --lease as GLOBALTX_LEASE.",
    )
    usual = OperatorSettings(namespace=environment.get("POD_NAMESPACE", "default"))

    def option(flag: str, default: object, text: str, **more: Any) -> None:
        variable = "GLOBALTX_" + flag.upper().replace("-", "_")
        made.add_argument(f"--{flag}", default=environment.get(variable, default), help=text, **more)

    option(
        "namespace", usual.namespace, "the operator's own namespace, where its Lease lives (POD_NAMESPACE)"
    )
    option(
        "namespaces", "", "namespaces to serve, separated by commas; all unless some are named", type=_list
    )
    option("lease", usual.lease, "name of the Lease that elects the leader")
    option(
        "lease-seconds", usual.lease_seconds, "how long a crashed leader's holds others off", type=_seconds
    )
    option("host", usual.host, "address of the probes, metrics and webhook")
    option("port", usual.port, "port of /healthz, /readyz and /metrics", type=_port)
    option("workers", usual.workers, "transactions that are worked on at once", type=_count)
    option("log-level", usual.log_level, "debug, info, warning or error", choices=_LEVELS)
    option("webhook-port", usual.webhook_port, "port of the webhook", type=_port)
    option("webhook-service", usual.webhook_service, "name of the webhook's Service")
    option("webhook-secret", usual.webhook_secret, "name of the Secret with the webhook's certificate")
    option("webhook-configuration", usual.webhook_configuration, "name of both webhook configurations")
    _etcd_options(option)
    _sidecar_options(option)
    made.add_argument("--version", action="version", version=__version__)
    return made


def _etcd_options(option: Callable[..., None]) -> None:
    option("etcd-endpoints", "", "URLs of the etcd that keeps transactions, by commas", type=_list)
    option("etcd-prefix", DEFAULT_PREFIX, "what its keys begin with", type=_prefix)
    option("etcd-secrets", "", "Secrets that sidecars enter it with, by commas", type=_list)
    option("etcd-credentials", ETCD_FOLDER, "folder with what the operator itself enters it with", type=Path)
    option("etcd-bundled", "", "name of the chart's own etcd, whose certificates and users are made here")
    option("etcd-compact-seconds", 300.0, "how often its history is thrown away; 0: never", type=float)
    option("etcd-projection-rate", 50.0, "writes a second to show what it keeps; 0: never", type=float)


def _sidecar_options(option: Callable[..., None]) -> None:
    usual, resources = InjectionOptions(image=""), Resources()
    option("sidecar-image", usual.image, "image of the sidecar; without it no webhook is served")
    option("sidecar-pull-policy", usual.image_pull_policy, "imagePullPolicy of the sidecar")
    option("sidecar-pull-secrets", "", "imagePullSecrets that the sidecar needs, by commas", type=_list)
    option("sidecar-cpu-request", resources.cpu_request, "CPU that the sidecar asks for; empty: none")
    option("sidecar-cpu-limit", resources.cpu_limit, "CPU that the sidecar may use; empty: any")
    option(
        "sidecar-memory-request", resources.memory_request, "memory that the sidecar asks for; empty: none"
    )
    option("sidecar-memory-limit", resources.memory_limit, "memory that the sidecar may use; empty: any")


def parse(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None
) -> OperatorSettings:
    """Read the settings; leaves the program with a usage message when they are wrong."""
    environment = os.environ if environment is None else environment
    found = parser(environment).parse_args(arguments)
    name = environment.get("POD_NAME")
    return OperatorSettings(
        namespace=found.namespace,
        namespaces=found.namespaces,
        lease=found.lease,
        lease_seconds=found.lease_seconds,
        identity=f"{name}-{secrets.token_hex(4)}" if name else _identity(),
        host=found.host,
        port=found.port,
        webhook_port=found.webhook_port,
        webhook_service=found.webhook_service,
        webhook_secret=found.webhook_secret,
        webhook_configuration=found.webhook_configuration,
        injection=_injection(found),
        etcd=_etcd(found),
        etcd_credentials=found.etcd_credentials,
        etcd_bundled=found.etcd_bundled,
        etcd_compact_seconds=found.etcd_compact_seconds,
        etcd_projection_rate=found.etcd_projection_rate,
        workers=found.workers,
        log_level=found.log_level,
    )


def _injection(found: argparse.Namespace) -> InjectionOptions | None:
    if not found.sidecar_image:
        return None
    return InjectionOptions(
        image=found.sidecar_image,
        image_pull_policy=found.sidecar_pull_policy,
        image_pull_secrets=found.sidecar_pull_secrets,
        resources=Resources(
            cpu_request=found.sidecar_cpu_request,
            cpu_limit=found.sidecar_cpu_limit,
            memory_request=found.sidecar_memory_request,
            memory_limit=found.sidecar_memory_limit,
        ),
        etcd=_etcd(found),
    )


def _etcd(found: argparse.Namespace) -> EtcdSettings | None:
    if not found.etcd_endpoints:
        return None
    return EtcdSettings(found.etcd_endpoints, found.etcd_prefix, found.etcd_secrets)


def _prefix(text: str) -> str:
    if not text.endswith("/"):
        message = f"{text!r} does not end with /"
        raise argparse.ArgumentTypeError(message)
    return text


def _list(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004  that is what a port is
        message = f"{port} is no port"
        raise argparse.ArgumentTypeError(message)
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:  # noqa: PLR2004  what the others take for a Lease's duration
        message = f"{text} is not between 1 and 3600"
        raise argparse.ArgumentTypeError(message)
    return seconds


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 256:  # noqa: PLR2004  more would only wait for the API server
        message = f"{count} is not between 1 and 256"
        raise argparse.ArgumentTypeError(message)
    return count
