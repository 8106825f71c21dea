"""Tells of pods that asked for a sidecar and run without one, by an Event at each and by a metric.

The webhook answers for every pod that it is asked about; this looks for those that it was not
asked about. It reads all pods, a page at a time and seldom, since no selector knows annotations.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.observed import Notice, Weight
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.injection import INJECT_ANNOTATION, missed
from globaltx.stores.kubernetes.errors import KubernetesError
from globaltx.stores.kubernetes.resource import PODS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from prometheus_client import Gauge

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx_operator.events import Recorder

INTERVAL_SECONDS = 60.0
PAGE = 100
MESSAGE = (
    f"the pod has the annotation {INJECT_ANNOTATION} and no sidecar, so its requests and statements take "
    "part in no global transaction; delete it, so that it is created anew"
)

_log = logging.getLogger(__name__)


class MissedPods:
    """Looks through the pods of the namespaces that are served (empty: all)."""

    def __init__(
        self, client: KubernetesClient, namespaces: tuple[str, ...], recorder: Recorder, gauge: Gauge
    ) -> None:
        self._client = client
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._recorder = recorder
        self._gauge = gauge

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                try:
                    self._gauge.set(await self.look())
                except KubernetesError as error:
                    _log.warning("pods without a sidecar could not be looked for: %s", error)
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            self._gauge.set(0)  # the next leader counts

    async def look(self) -> int:
        """Tell of each such pod once; return how many there are.

        Raises:
            KubernetesError: the pods could not be read.
        """
        found = 0
        async with aclosing(self._pods()) as pods:
            async for pod in pods:
                if missed(pod):
                    found += 1
                    await self._tell(pod)
        return found

    async def _tell(self, pod: dict[str, Any]) -> None:
        regarding = {**pod, "apiVersion": PODS.api_version, "kind": PODS.kind}
        await self._recorder.record(Notice(Weight.WARNING, Reason.SIDECAR_MISSING, MESSAGE), regarding)

    async def _pods(self) -> AsyncGenerator[dict[str, Any], None]:
        for namespace in self._namespaces:
            token = ""
            while True:
                page = await self._client.request(
                    "GET", PODS.path(namespace), params={"limit": str(PAGE), "continue": token}
                )
                for pod in page.get("items") or ():
                    yield pod
                token = page["metadata"].get("continue", "")
                if not token:
                    break
