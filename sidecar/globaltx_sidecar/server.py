"""One sidecar: puts the parts together, runs them, stops them in order.

Nothing here waits for the store or a database: the listeners come up first, and everything that
needs another process is retried in the background, told on ``/readyz``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from globaltx.manifest.settings import NOTIFY_FOLDER
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.election import Timing
from globaltx.stores.kubernetes.lease import Elector
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.values import dataclass
from globaltx_sidecar import control
from globaltx_sidecar.branch.leader import Leader
from globaltx_sidecar.branch.registrar import Registrar
from globaltx_sidecar.guards import Guards
from globaltx_sidecar.health import Health
from globaltx_sidecar.http import server as http_server
from globaltx_sidecar.http.caller import HttpCaller
from globaltx_sidecar.http.filter import Filter
from globaltx_sidecar.http.initiator import Initiator, Origin
from globaltx_sidecar.http.proxy import Proxy
from globaltx_sidecar.http.requests import Requests
from globaltx_sidecar.http.tries import Tries
from globaltx_sidecar.http.upstream import Upstream
from globaltx_sidecar.later import CRYPTOGRAPHY, at_first_use
from globaltx_sidecar.leading import Together, lead, lead_once_needed
from globaltx_sidecar.local import server as local_server
from globaltx_sidecar.local.service import LocalService
from globaltx_sidecar.metrics import Metrics
from globaltx_sidecar.policies import PolicyFollower
from globaltx_sidecar.traces import Traces

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from globaltx.manifest.settings import SidecarSettings
    from globaltx.stores.base import Store
    from globaltx.stores.kubernetes.access import Access
    from globaltx_sidecar.branch.guard_rows import Reads
    from globaltx_sidecar.databases import Databases
    from globaltx_sidecar.etcd import Etcd
    from globaltx_sidecar.http.server import HttpServer
    from globaltx_sidecar.mysql.server import MysqlServer
    from globaltx_sidecar.notify.sender import Sender
    from globaltx_sidecar.saga.conductor import Conductor

    Work = Coroutine[None, None, None]

HTTP_PART = "http"
LOCAL_PART = "local API"
GUARD_SECONDS_MIN = 3600.0
"""How long guard rows are kept at least, so that they keep out what an application does very late."""
LAST_SECONDS = 2.0
"""What the stop may take beyond the grace period, to cancel what did not end in it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is true of this process and not of the policy.

    ``credentials`` holds one folder a datasource, ``etcd_folder`` what enters the store's etcd,
    ``notify_keys`` what notifications are signed with; ``grace`` is how long a stop waits for what is
    under way, ``sweep_seconds`` how old undo records are before somebody asks what became of their
    transaction, ``timing`` that of the app's Lease.
    """

    access: Access
    pod: str
    credentials: Path
    etcd_folder: Path | None = None
    notify_keys: Path = Path(NOTIFY_FOLDER)
    grace: timedelta = timedelta(seconds=20)
    sweep_seconds: float = 60.0
    timing: Timing = field(default_factory=Timing)
    control_host: str = "0.0.0.0"  # noqa: S104  the kubelet probes the pod's own address


def open_etcd(settings: SidecarSettings, folder: Path | None, utc: Callable[[], datetime]) -> Etcd:
    """The store's etcd; its modules are loaded only where it is used."""
    from globaltx_sidecar.etcd import Etcd  # noqa: PLC0415

    return Etcd(settings, folder, utc)


def open_sender(settings: SidecarSettings, keys: Path, utc: Callable[[], datetime]) -> Sender | None:
    """What tells outcomes; its modules are loaded only where that is done."""
    if settings.notifying is None:
        return None
    from globaltx_sidecar.notify.sender import Sender  # noqa: PLC0415

    return Sender(settings.notifying.egress, keys, utc)


class Sidecar:
    """A sidecar's parts; `run` brings them up and keeps them until it is told to stop."""

    def __init__(self, settings: SidecarSettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._around = surroundings
        self._metrics = Metrics()
        self._health = Health(self._metrics)
        joins_by_trace = settings.http is not None and settings.http.joins_by_trace
        guards_calls = any(each.datasource.guards_calls for each in settings.datasources)
        self._traces = Traces(time.monotonic, of_calls=guards_calls) if joins_by_trace else None
        self._guards = Guards(settings.namespace, settings.app)
        self._client = KubernetesClient(surroundings.access)
        self._etcd = (
            open_etcd(settings, surroundings.etcd_folder, self._client.utc) if settings.etcd else None
        )
        self._sender = open_sender(settings, surroundings.notify_keys, self._client.utc)
        self._store: Store = (
            self._etcd.store if self._etcd else KubernetesStore(self._client, settings.namespace)
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set, then end what is under way within the grace period.

        Raises:
            ExceptionGroup: of an `OSError` when an address cannot be listened at.
        """
        try:
            async with (
                asyncio.timeout(None) as limit,
                self._client,
                self._etcd or nullcontext(),
                self._sender or nullcontext(),
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
            initiator = self._initiator(tasks)
            await self._open_local(parts, initiator, callable_=upstream is not None)
            tries = Tries(
                *(self._store, self._settings.app, self._around.pod, self._metrics),
                guards=self._guards,
                rows=databases,
                traced=self._traces is not None and self._traces.of_calls,
            )
            proxy = (
                None
                if upstream is None
                else await self._open_http(parts, limit, upstream, initiator, tries, tasks)
            )
            conductor = self._conductor()
            works = [*(databases.works() if databases else ())]
            works += self._leads(databases, upstream, tries, conductor)
            use = partial(_use, proxy)
            follower = PolicyFollower(
                self._client, self._settings, self._health, use, conductor, self._sender
            )
            works.append(follower.run())
            if self._etcd:
                works.append(self._etcd.tell(self._health))
            background = [tasks.create_task(work) for work in works]
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
    ) -> Databases | None:
        settings = self._settings
        if not settings.datasources:
            return None
        # Only where there are databases: drivers and protocol take 15 MiB.
        with at_first_use(*CRYPTOGRAPHY):
            from globaltx_sidecar.databases import Databases  # noqa: PLC0415

        databases = Databases(settings, self._around.credentials, self._health, self._metrics, self._guards)
        parts.callback(databases.close)
        branches = Registrar(self._store, settings.app, tasks, self._metrics)
        for server in await databases.serve(branches, self._traces):
            parts.push_async_callback(_stop, server, limit)
        return databases

    def _initiator(self, tasks: asyncio.TaskGroup) -> Initiator:
        settings = self._settings
        # A transaction names the one policy that its pod was injected by; of several, none is the one.
        policy = settings.policies[0] if len(settings.policies) == 1 else ""
        origin = Origin(settings.namespace, settings.app, self._around.pod, policy, settings.ttl)
        return Initiator(self._store, origin, tasks)

    async def _open_local(self, parts: AsyncExitStack, initiator: Initiator, *, callable_: bool) -> None:
        if self._settings.local_port is None:
            return
        self._health.need(LOCAL_PART)
        service = LocalService(self._store, initiator, callable_=callable_, sender=self._sender)
        server = await local_server.serve(service, self._settings.local_port)
        parts.push_async_callback(server.stop)
        self._health.ok(LOCAL_PART)

    def _conductor(self) -> Conductor | None:
        settings = self._settings
        if settings.egress is None:
            return None
        from globaltx_sidecar.saga.conductor import Conductor  # noqa: PLC0415  only where there are sagas

        return Conductor(
            self._client,
            settings.namespace,
            settings.app,
            self._around.pod,
            settings.policies,
            settings.egress,
        )

    def _leads(
        self,
        databases: Databases | None,
        upstream: Upstream | None,
        tries: Tries,
        conductor: Conductor | None,
    ) -> list[Work]:
        """Phase two, as far as this sidecar can carry any out, and the conducting of sagas."""
        settings = self._settings
        elector = Elector(
            self._client,
            settings.namespace,
            f"globaltx-{settings.app}",
            # The pod's own name: a sidecar that crashed finds its lease again and need not wait it out.
            self._around.pod,
            timing=self._around.timing,
        )
        if databases is None and upstream is None and self._sender is None:
            return [] if conductor is None else [lead(conductor, elector, self._health)]
        leader = Leader(
            self._store,
            settings.app,
            databases.carriers if databases else {},
            self._health,
            self._metrics,
            caller=None if upstream is None else HttpCaller(upstream, tries, self._guards, self._traces),
            sweep_seconds=self._around.sweep_seconds,
            sender=self._sender,
            guard_rows=databases.guard_rows if databases else None,
            guard_seconds=guard_seconds(settings),
            guarded_in=self._guarded_in() if databases else None,
        )
        beside = [each for each in (self._notifier(), conductor) if each is not None]
        if beside:
            return [lead(Together(leader, *beside), elector, self._health)]
        routes = settings.http.routes if settings.http else ()
        if databases is None and not any(route.tries for route in routes):
            return [lead_once_needed(leader, elector, self._health, self._store, settings.app)]
        return [lead(leader, elector, self._health)]

    def _guarded_in(self) -> Reads | None:
        """Where transactions are that guard rows speak of; declared sagas are in Kubernetes always."""
        if self._etcd is None:
            return None
        from globaltx_sidecar.branch.guard_rows import Either  # noqa: PLC0415  see `_open_databases`

        return Either(self._store, KubernetesStore(self._client, self._settings.namespace))

    def _notifier(self) -> Leader | None:
        """Tells outcomes of what is kept in Kubernetes whatever the store is: declared sagas."""
        if self._etcd is None or self._sender is None:
            return None
        return Leader(
            KubernetesStore(self._client, self._settings.namespace),
            self._settings.app,
            {},
            self._health,
            self._metrics,
            sender=self._sender,
            only_notifications=True,
        )

    async def _open_http(
        self,
        parts: AsyncExitStack,
        limit: asyncio.Timeout,
        upstream: Upstream,
        initiator: Initiator,
        tries: Tries,
        tasks: asyncio.TaskGroup,
    ) -> Proxy:
        settings = self._settings
        if settings.http is None:  # a bug: there is an upstream only where there is HTTP
            raise RuntimeError
        routes = Filter(settings.http.routes, edge=settings.http.edge)
        requests = Requests(self._store, initiator.origin)
        proxy = Proxy(upstream, initiator, tries, requests, tasks, self._metrics, routes, traces=self._traces)
        server = await http_server.serve(proxy, settings.http.listen_host, settings.http.listen_port)
        parts.push_async_callback(_stop, server, limit)
        self._health.ok(HTTP_PART)
        return proxy


def guard_seconds(settings: SidecarSettings) -> float:
    """How long guard rows are kept: as long as any call is waited for, and a transaction remembered."""
    routes = settings.http.routes if settings.http else ()
    return max(
        GUARD_SECONDS_MIN, settings.ttl.total_seconds(), *(each.timeout.total_seconds() for each in routes)
    )


def _use(proxy: Proxy | None, routes: Filter) -> None:
    if proxy is not None:
        proxy.use(routes)


async def _stop(server: HttpServer | MysqlServer, limit: asyncio.Timeout) -> None:
    await server.stop(_left(limit))


def _left(limit: asyncio.Timeout) -> timedelta:
    """What is left of the grace period; all of it was set when the stop began."""
    until = limit.when()
    now = asyncio.get_running_loop().time()
    return timedelta(seconds=max(0.0, (now if until is None else until) - LAST_SECONDS - now))
