"""One sidecar: puts the parts together, runs them, stops them in order.

Nothing here waits for the store or a database: the listeners come up first, and everything that
needs another process is retried in the background, told on ``/readyz``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.lease import Elector
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_sidecar import control
from globaltx_sidecar.attached import AttachedDatasource
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.health import Health
from globaltx_sidecar.http import server as http_server
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.initiator import Initiator, Origin
from globaltx_sidecar.http.proxy import Proxy
from globaltx_sidecar.http.upstream import Upstream
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.policies import PolicyFollower

if TYPE_CHECKING:
    from pathlib import Path

    from globaltx.manifest.settings import SidecarSettings
    from globaltx.stores.kubernetes.access import Access
    from globaltx_sidecar.http.server import HttpServer
    from globaltx_sidecar.mysql.server import MysqlServer

HTTP_PART = "http"
LEADER_PART = "phase two"
GOOD_SECONDS = 60.0
"""A term that lasted this long was a good one: the next failure counts as the first."""
LAST_SECONDS = 2.0
"""What the stop may take beyond the grace period, to cancel what did not end in it."""

_log = logging.getLogger(__name__)
_AGAIN = Backoff(first=0.5, most=30.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is true of this process and not of the policy.

    ``credentials`` holds one folder a datasource; ``grace`` is how long a stop waits for what is
    under way.
    """

    access: Access
    pod: str
    credentials: Path
    grace: timedelta = timedelta(seconds=20)
    control_host: str = "0.0.0.0"  # noqa: S104  the kubelet probes the pod's own address


class Sidecar:
    """A sidecar's parts; `run` brings them up and keeps them until it is told to stop."""

    def __init__(self, settings: SidecarSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._around = surroundings
        self._metrics = Metrics()
        self._health = Health(self._metrics)
        self._client = KubernetesClient(surroundings.access)
        self._store = KubernetesStore(self._client, settings.namespace)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then end what is under way within the grace period.

        Raises:
            ExceptionGroup: of an `OSError` when an address cannot be listened at.
        """
        try:
            async with (
                asyncio.timeout(None) as limit,
                self._client,
                self._upstream() as upstream,
                asyncio.TaskGroup() as tasks,
            ):
                await self._serve(stop, limit, upstream, tasks)
        except TimeoutError:
            _log.warning("what did not end within the grace period was cut off")
        _log.info("stopped")

    async def _serve(
        self,
        stop: asyncio.Event,
        limit: asyncio.Timeout,
        upstream: Upstream | None,
        tasks: asyncio.TaskGroup,
    ) -> None:
        async with AsyncExitStack() as parts:  # stopped in the reverse order
            if upstream is not None:
                self._health.need(HTTP_PART)
            endpoint = await control.serve(
                self._health, self._metrics, self._around.control_host, self._settings.control_port
            )
            parts.push_async_callback(endpoint.stop)
            databases = await self._open_databases(parts, limit, tasks)
            proxy = None if upstream is None else await self._open_http(parts, limit, upstream, tasks)
            background = self._start_background(databases, proxy, tasks)
            _log.info("ready: %s in %s", self._settings.app, self._settings.namespace)
            await stop.wait()
            grace = self._around.grace.total_seconds()
            _log.info("stopping, grace %g s", grace)
            limit.reschedule(asyncio.get_running_loop().time() + grace + LAST_SECONDS)
            for task in background:
                task.cancel()  # the lease is released first, so that another sidecar goes on at once

    def _upstream(self) -> AbstractAsyncContextManager[Upstream | None]:
        http = self._settings.http
        return nullcontext(None) if http is None else Upstream(http.upstream_port)

    async def _open_databases(
        self, parts: AsyncExitStack, limit: asyncio.Timeout, tasks: asyncio.TaskGroup
    ) -> list[AttachedDatasource]:
        registrar = Registrar(self._store, self._settings.app, tasks, self._metrics)
        databases = [
            AttachedDatasource(each, self._around.credentials, self._health)
            for each in self._settings.datasources
        ]
        for each in databases:
            parts.callback(each.close)
            server = await each.serve(registrar, self._settings.lock_wait, self._metrics)
            parts.push_async_callback(_stop, server, limit)
        return databases

    async def _open_http(
        self,
        parts: AsyncExitStack,
        limit: asyncio.Timeout,
        upstream: Upstream,
        tasks: asyncio.TaskGroup,
    ) -> Proxy:
        settings = self._settings
        if settings.http is None:  # a bug: there is an upstream only where there is HTTP
            raise RuntimeError
        # A transaction names the one policy that its pod was injected by; of several, none is the one.
        policy = settings.policies[0] if len(settings.policies) == 1 else ""
        origin = Origin(settings.namespace, settings.app, self._around.pod, policy, settings.ttl)
        initiator = Initiator(self._store, origin, tasks)
        proxy = Proxy(upstream, initiator, tasks, self._metrics, Filter(settings.http.routes))
        server = await http_server.serve(proxy, settings.http.listen_host, settings.http.listen_port)
        parts.push_async_callback(_stop, server, limit)
        self._health.ok(HTTP_PART)
        return proxy

    def _start_background(
        self, databases: list[AttachedDatasource], proxy: Proxy | None, tasks: asyncio.TaskGroup
    ) -> list[asyncio.Task[None]]:
        works = [("databases", self._lead(databases))] if databases else []
        works += [(f"undo table of {each.name}", each.prepare()) for each in databases]
        follower = PolicyFollower(self._client, self._settings, self._health, partial(_use, proxy))
        works.append(("policies", follower.run()))
        return [tasks.create_task(work, name=name) for name, work in works]

    async def _lead(self, databases: list[AttachedDatasource]) -> None:
        """Stand for election, for ever; whatever goes wrong is told and tried again."""
        settings, failures = self._settings, 0
        carriers = {each.name: each.phase_two for each in databases}
        leader = Leader(self._store, settings.app, carriers, self._health, self._metrics)
        while True:
            # The pod's own name: a sidecar that crashed finds its lease again and need not wait it out.
            lease = f"globaltx-{settings.app}"
            elector = Elector(self._client, settings.namespace, lease, self._around.pod)
            began = asyncio.get_running_loop().time()
            try:
                await elector.run(leader.lead)
            except Exception as error:  # noqa: BLE001  whatever it is, phase two must go on
                if asyncio.get_running_loop().time() - began > GOOD_SECONDS:
                    failures = 0
                failures += 1
                _log.exception("phase two stopped and is taken up again")
                self._health.waits(LEADER_PART, reason_of(error), repr(error))
            await asyncio.sleep(_AGAIN.delay(max(failures, 1), random.random()))  # noqa: S311  jitter
            self._health.gone(LEADER_PART)


def _use(proxy: Proxy | None, routes: Filter) -> None:
    if proxy is not None:
        proxy.filter = routes


async def _stop(server: HttpServer | MysqlServer, limit: asyncio.Timeout) -> None:
    await server.stop(_left(limit))


def _left(limit: asyncio.Timeout) -> timedelta:
    """What is left of the grace period; all of it was set when the stop began."""
    until = limit.when()
    now = asyncio.get_running_loop().time()
    return timedelta(seconds=max(0.0, (now if until is None else until) - LAST_SECONDS - now))
