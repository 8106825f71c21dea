"""The chart's webhook configurations on a real API server, leading to a webhook in this process."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from globaltx.manifest.injection import InjectionOptions
from globaltx.stores.kubernetes.client import PatchKind
from globaltx.stores.kubernetes.errors import AlreadyExistsError, NotFoundError
from globaltx.stores.kubernetes.resource import (
    CLUSTER_ROLES,
    MUTATING_WEBHOOKS,
    PODS,
    SERVICE_ACCOUNTS,
    VALIDATING_WEBHOOKS,
)
from globaltx_operator.webhook import WebhookOptions, run_webhook
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dev.cluster.cluster import Cluster
    from globaltx.stores.kubernetes.client import KubernetesClient

CHART = Path(__file__).parents[2] / "charts" / "globaltx"
ASKS = {"globaltx.io/inject": "true"}
KINDS = {each.kind: each for each in (MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS)}
WAIT_SECONDS = 30.0


async def until(what: str, holds: Callable[[], Any]) -> Any:
    """Poll an asynchronous condition until it gives something true."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not (found := await holds()):  # noqa: ASYNC110  a server is asked, nothing tells us
                await asyncio.sleep(0.05)
            return found
    except TimeoutError:
        pytest.fail(f"gave up waiting for {what}")


def pod(**more: Any) -> dict[str, Any]:
    """A pod with an HTTP port that asks for a sidecar, unless annotations are given."""
    metadata = {"generateName": "orders-", "labels": {"app": "orders"}, "annotations": ASKS}
    port = {"name": "http", "containerPort": 8080}
    spec = {"containers": [{"name": "orders", "image": "example/orders", "ports": [port]}]}
    return {"metadata": metadata | more.pop("metadata", {}), "spec": spec | more}


def sidecar(created: dict[str, Any]) -> dict[str, Any] | None:
    """The injected container of a pod."""
    inits = created["spec"].get("initContainers") or []
    return next((each for each in inits if each["name"] == "globaltx-sidecar"), None)


@dataclass
class Webhook:
    """The webhook of one test: its own configurations, for its own namespace."""

    client: KubernetesClient
    namespace: str
    configuration: str
    port: int
    now: timedelta = timedelta()
    """How far its clock is ahead."""
    looks: int = 0
    """How often it has looked at its clock."""
    task: asyncio.Task[None] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    options: dict[str, Any] = field(default_factory=dict)

    async def start(self) -> None:
        """Serve, and wait until the API server gets answers."""
        options = WebhookOptions(
            namespace=self.namespace,
            injection=InjectionOptions(image="example/sidecar:1"),
            configuration=self.configuration,
            host="127.0.0.1",
            port=self.port,
            more_hosts=("127.0.0.1",),
            interval_seconds=0.05,
            **self.options,
        )
        self.ready.clear()
        self.task = asyncio.create_task(run_webhook(self.client, options, ready=self.ready, clock=self.clock))
        ready = asyncio.create_task(self.ready.wait())
        await asyncio.wait({ready, self.task}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
        ready.cancel()
        assert self.ready.is_set(), self.task

    def clock(self) -> datetime:
        """The time as the webhook sees it."""
        self.looks += 1
        return datetime.now(UTC) + self.now

    async def stop(self) -> None:
        """Stop serving; the configurations stay."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            self.task = None

    async def create(self, body: dict[str, Any], *, dry_run: bool = True) -> dict[str, Any]:
        """Create a pod."""
        return await self.client.create(PODS, body, self.namespace, dry_run=dry_run)


@pytest.fixture
async def webhook(
    control_plane: Cluster, kubernetes: KubernetesClient, namespace: str, unused_port: int
) -> AsyncIterator[Webhook]:
    """A webhook that is configured and not started."""
    made = Webhook(kubernetes, namespace, f"globaltx-{namespace}", unused_port)
    await configure(control_plane, made)
    with contextlib.suppress(AlreadyExistsError):  # pods need it, and its controller may be catching up
        await kubernetes.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace)
    yield made
    await made.stop()
    for kind in KINDS.values():
        with contextlib.suppress(NotFoundError):
            await kubernetes.delete(kind, made.configuration)


async def configure(control_plane: Cluster, webhook: Webhook) -> None:
    """Apply the chart's configurations, led to our port and to our namespace."""
    text = await asyncio.to_thread(control_plane.helm, "template", "globaltx", str(CHART), "--namespace", "g")
    manifests = [each for each in yaml.safe_load_all(text) if each]
    for manifest in manifests:
        if manifest["metadata"]["name"] == "globaltx-sidecar":
            await webhook.client.patch(CLUSTER_ROLES, "globaltx-sidecar", manifest, kind=PatchKind.APPLY)
        if kind := KINDS.get(manifest["kind"]):
            manifest["metadata"]["name"] = webhook.configuration
            for each in manifest["webhooks"]:
                path = each["clientConfig"]["service"]["path"]
                each["clientConfig"] = {"url": f"https://127.0.0.1:{webhook.port}{path}"}
                chosen = {"matchLabels": {"kubernetes.io/metadata.name": webhook.namespace}}
                each["namespaceSelector"] = chosen
            await webhook.client.create(kind, manifest)


@pytest.fixture
def unused_port() -> int:
    """A port of loopback that nobody listens on."""
    return free_port()
