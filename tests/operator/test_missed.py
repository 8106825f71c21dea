"""Pods that asked for a sidecar and have none, on a real API server without a webhook."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge

from globaltx.stores.kubernetes.errors import AlreadyExistsError
from globaltx.stores.kubernetes.resource import EVENTS, PODS, SERVICE_ACCOUNTS
from globaltx_operator import missed
from globaltx_operator.events import Recorder
from globaltx_operator.missed import MissedPods

if TYPE_CHECKING:
    import pytest

    from globaltx.stores.kubernetes.client import KubernetesClient


def looking(client: KubernetesClient, *namespaces: str) -> MissedPods:
    recorder = Recorder(client, "test", lambda: datetime.now(UTC))
    gauge = Gauge("missed", "Missed.", registry=CollectorRegistry())
    return MissedPods(client, namespaces, recorder, gauge)


async def pods(client: KubernetesClient, namespace: str, **annotated: dict[str, str]) -> None:
    with suppress(AlreadyExistsError):  # by the controller manager
        await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, namespace)
    for name, written in annotated.items():
        body: dict[str, Any] = {
            "metadata": {"name": name, "annotations": written},
            "spec": {"containers": [{"name": "a", "image": "b"}]},
        }
        await client.create(PODS, body, namespace)


ASKS = {"globaltx.io/inject": "true"}


async def test_each_is_told_once(kubernetes: KubernetesClient, namespace: str) -> None:
    await pods(kubernetes, namespace, asks=ASKS, optsout={"globaltx.io/inject": "false"}, plain={})
    look = looking(kubernetes, namespace)
    assert [await look.look(), await look.look()] == [1, 1]
    told = (await kubernetes.list(EVENTS, namespace)).items
    [event] = [each for each in told if each["reason"] == "SidecarMissing"]
    assert event["regarding"]["name"] == "asks"
    assert event["regarding"]["kind"] == "Pod"
    assert event["type"] == "Warning"
    assert "create" in event["note"]


async def test_every_page_and_namespace_is_read(
    kubernetes: KubernetesClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "PAGE", 2)
    await pods(kubernetes, namespace, **dict.fromkeys(("a", "b", "c", "d", "e"), ASKS))
    assert await looking(kubernetes, namespace).look() == 5
    assert await looking(kubernetes, "kube-public", namespace).look() == 5
    assert await looking(kubernetes).look() >= 5
