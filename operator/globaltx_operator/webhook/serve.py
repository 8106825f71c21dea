"""The webhook as one task: certificate, policies, server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from globaltx.stores.kubernetes.client import KubernetesClient

    from globaltx.manifest.injection import InjectionOptions


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where the webhook is served, and where what it shares with its replicas is kept."""

    namespace: str
    """The operator's own: its Service and its Secret are here."""
    injection: InjectionOptions
    service: str = "globaltx-webhook"
    secret: str = "globaltx-webhook-certificate"  # noqa: S105  the name of one
    configuration: str = "globaltx"
    """The name of both webhook configurations, whose ``caBundle`` is kept right."""
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all."""
    host: str = "0.0.0.0"  # noqa: S104  the pod's own address is not known beforehand
    port: int = 9443


async def run_webhook(
    client: KubernetesClient, options: WebhookOptions, *, ready: asyncio.Event | None = None
) -> None:
    """Serve until cancelled; ``ready`` is set once requests would be answered with a trusted certificate.

    A lost API server is waited for inside; what escapes is a bug or a port that is taken.
    """
    raise NotImplementedError
