"""Where the webhook is served, and where what it shares with its replicas is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from globaltx_operator.webhook.certificate import Lifetimes

if TYPE_CHECKING:
    from globaltx.manifest.injection import InjectionOptions


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """The operator's choices; names are those of the chart."""

    namespace: str
    """The operator's own: its Service and its Secret are here."""
    injection: InjectionOptions
    service: str = "globaltx-webhook"
    secret: str = "globaltx-webhook-certificate"  # noqa: S105  the name of one
    configuration: str = "globaltx"
    """The name of both webhook configurations, whose ``caBundle`` is kept right."""
    host: str = "0.0.0.0"  # noqa: S104  the pod's own address is not known beforehand
    port: int = 9443
    more_hosts: tuple[str, ...] = ()
    """Names and addresses by which the webhook is called besides its Service."""
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    interval_seconds: float = 30.0
    """How often certificate and trust are looked at."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Everything by which the webhook is called."""
        return (f"{self.service}.{self.namespace}.svc", *self.more_hosts)
