"""What whoever runs the injection chooses: the sidecar's image and how much it may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.manifest.settings import EtcdSettings

SIDECAR_NAME = "globaltx-sidecar"
"""The injected container's name, and the ClusterRole's that it acts with."""
INJECT_ANNOTATION = "globaltx.io/inject"
APP_ANNOTATION = "globaltx.io/app"
POLICIES_ANNOTATION = "globaltx.io/policies"
"""Written by the injection: the policies that the sidecar's settings were made from."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Quantities as Kubernetes writes them; an empty one is left out."""

    cpu_request: str = "10m"
    cpu_limit: str = ""
    memory_request: str = "64Mi"
    memory_limit: str = "256Mi"


@dataclass(frozen=True, slots=True)
class InjectionOptions:
    """How the injected container looks; ``user`` is numeric, as Pod Security `restricted` can check it."""

    image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    resources: Resources = Resources()
    user: int = 65532
    etcd: EtcdSettings | None = None
    """The etcd that the sidecars keep transactions in; None: in Kubernetes."""
