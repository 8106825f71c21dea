"""``globaltx-operator``: one replica, from its start to the release of its lease.

The parts, each a task: the probes; kopf, which feeds the caches; the elector, under which the leader
works; the webhook. When one of them ends by itself, the whole process does, and Kubernetes starts it
anew. On SIGTERM they are stopped in an order in which the others can take over at once: first the
leader, whose lease is released, then the webhook, then the watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kopf

from globaltx.stores.etcd.access import EtcdAccess, EtcdAccessError
from globaltx.stores.etcd.client import EtcdClient
from globaltx.stores.etcd.store import EtcdStore
from globaltx.stores.kubernetes.access import AccessError, discover
from globaltx.stores.kubernetes.client import KubernetesClient
from globaltx.stores.kubernetes.election import Timing
from globaltx.stores.kubernetes.errors import KubernetesError
from globaltx.stores.kubernetes.lease import Elector
from globaltx.stores.kubernetes.resource import BRANCHES, POLICIES, TRANSACTIONS
from globaltx_operator import handlers, log
from globaltx_operator.bundled import BundledEtcd, BundledOptions
from globaltx_operator.cache import Cache
from globaltx_operator.carry_out import CarryOut
from globaltx_operator.election import Leadership
from globaltx_operator.etcd import EtcdKeeper
from globaltx_operator.events import Recorder
from globaltx_operator.gather import Gatherer
from globaltx_operator.metrics import Metrics
from globaltx_operator.missed import MissedPods
from globaltx_operator.policies import PolicyCache, PolicyReconciler
from globaltx_operator.probes import Readiness, probes
from globaltx_operator.projection import Projector
from globaltx_operator.rate import TokenBucket
from globaltx_operator.reconcile import Reconciler
from globaltx_operator.settings import parse
from globaltx_operator.webhook import WebhookOptions, run_webhook

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from globaltx.manifest.injection import InjectionOptions
    from globaltx.stores.kubernetes.access import Access
    from globaltx_operator.election import Beside
    from globaltx_operator.settings import OperatorSettings

CONNECTIONS = 32
SERVED_RETRY_SECONDS = 1.0
STOP_SECONDS = 10.0

_log = logging.getLogger(__name__)


def main() -> None:
    """Run one replica; the console script."""
    settings = parse()
    log.set_up(settings.log_level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        sys.exit(runner.run(run(settings)))


def _loop_factory() -> Any:
    """Take uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415  it is optional
    except ImportError:
        return None
    return uvloop.new_event_loop


async def run(settings: OperatorSettings) -> int:
    """Run until SIGTERM or SIGINT (0), or until a part fails (1)."""
    try:
        access = discover()
    except AccessError as error:
        _log.error("%s", error)
        return 1
    client = KubernetesClient(access, connections=CONNECTIONS, field_manager="globaltx-operator")
    async with client, contextlib.AsyncExitStack() as stack:
        replica = Replica(settings, access, client)
        if settings.etcd is not None:
            try:
                etcd = EtcdAccess(settings.etcd.endpoints, settings.etcd_credentials)
            except EtcdAccessError as error:
                _log.error("%s", error)
                return 1
            replica.keep_in(await stack.enter_async_context(EtcdClient(etcd)), settings.etcd.prefix)
            if (options := _bundled(settings)) is not None:
                own = BundledEtcd(client, options, settings.etcd.endpoints)
                replica.keep(await stack.enter_async_context(own))
        return await replica.run()


def _bundled(settings: OperatorSettings) -> BundledOptions | None:
    if settings.etcd is None or not settings.etcd_bundled:
        return None
    return BundledOptions(
        settings.etcd_bundled,
        len(settings.etcd.endpoints),
        settings.namespace,
        settings.etcd_credentials,
        settings.etcd.prefix,
        settings.namespaces,
    )


@dataclass(slots=True)
class _Part:
    """A task of the replica, and how it is asked to stop (by default it is cancelled)."""

    task: asyncio.Task[Any]
    stop: asyncio.Event | None = None


class Replica:
    """One replica's parts, put together."""

    def __init__(self, settings: OperatorSettings, access: Access, client: KubernetesClient) -> None:
        self._settings = settings
        self._access = access
        self._client = client
        self._cache = Cache()
        self._policies = PolicyCache()
        self._metrics = Metrics(self._cache)
        self._readiness = Readiness()
        self._keeper: EtcdKeeper | None = None
        self._projector: Projector | None = None
        self._bundled: BundledEtcd | None = None
        self._stopping = asyncio.Event()
        self._parts: list[_Part] = []  # in the order in which they are stopped

    def keep_in(self, etcd: EtcdClient, prefix: str) -> None:
        """Carry out for the transactions that are kept in an etcd, too, and show them."""
        self._projector = self._projects()
        self._keeper = EtcdKeeper(
            etcd,
            EtcdStore(etcd, None, prefix=prefix, utc=self._client.utc),
            self._metrics,
            self._client.utc,
            workers=self._settings.workers,
            compact_seconds=self._settings.etcd_compact_seconds,
            projector=self._projector,
        )
        self._readiness.needs("the watch of etcd", self._keeper.is_well)

    def keep(self, bundled: BundledEtcd) -> None:
        """See to the chart's own etcd, too."""
        self._bundled = bundled
        self._readiness.needs("what enters the chart's etcd", bundled.entered.is_set)

    def _projects(self) -> Projector | None:
        settings = self._settings
        rate = settings.etcd_projection_rate
        if rate <= 0:
            return None
        recorder = Recorder(self._client, settings.identity, self._client.utc)
        bucket = TokenBucket(rate, max(1.0, rate))
        return Projector(
            self._client, self._policies, recorder, self._client.utc, bucket, settings.namespaces
        )

    async def run(self) -> int:
        """Start the parts, wait, stop them."""
        self._catch_signals()
        settings = self._settings
        async with probes(settings.host, settings.port, self._readiness, self._metrics) as port:
            _log.info("operator %s: probes on port %d", settings.identity, port)
            served = asyncio.Event()
            self._readiness.needs("the custom resources to be served", served.is_set)
            if not await self._until_stopping(self._until_served()):
                return 0
            served.set()
            await self._start()
            return await self._wait_and_stop()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)

    async def _until_stopping(self, waited: Coroutine[Any, Any, None]) -> bool:
        """Whether something ended before we were told to stop."""
        task = asyncio.create_task(waited)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for each in (task, stopping):
            each.cancel()
        await asyncio.wait({task, stopping})
        if task.cancelled():
            return False
        task.result()
        return True

    async def _until_served(self) -> None:
        """Wait until the API server serves our kinds (an installation may still be under way)."""
        namespace = self._settings.namespaces[0] if self._settings.namespaces else None
        for resource in (TRANSACTIONS, BRANCHES, POLICIES):
            while True:
                try:
                    await self._client.list(resource, namespace, fields="metadata.name=none")
                    break
                except KubernetesError as error:
                    _log.warning("waiting for %s: %s", resource.plural, error)
                    await asyncio.sleep(SERVED_RETRY_SECONDS)

    async def _start(self) -> None:
        self._parts.append(_Part(asyncio.create_task(self._campaign(), name="leader")))
        if self._bundled is not None:
            self._parts.append(_Part(asyncio.create_task(self._bundled.run(), name="the chart's etcd")))
        if self._settings.injection is not None:
            webhook = asyncio.create_task(self._webhook(self._settings.injection), name="webhook")
            self._parts.append(_Part(webhook))
        self._parts.append(await self._watches())

    async def _campaign(self) -> None:
        settings = self._settings
        recorder = Recorder(self._client, settings.identity, self._client.utc)
        carry_out = CarryOut(self._client, self._cache, recorder, self._metrics, self._client.utc)
        gatherer = Gatherer(self._client, self._cache)
        leadership = Leadership(
            self._cache,
            Reconciler(gatherer, carry_out, self._metrics, self._client.utc),
            self._policies,
            PolicyReconciler(self._client, self._policies, recorder, self._client.utc),
            self._metrics,
            settings.workers,
            tuple(self._beside(recorder)),
        )
        timing = Timing.lasting(settings.lease_seconds)
        elector = Elector(self._client, settings.namespace, settings.lease, settings.identity, timing=timing)
        await elector.run(leadership.lead)

    def _beside(self, recorder: Recorder) -> Iterator[Beside]:
        settings = self._settings
        if settings.injection is not None:
            yield MissedPods(self._client, settings.namespaces, recorder, self._metrics.uninjected)
        if self._keeper is not None:
            yield self._keeper

    async def _webhook(self, injection: InjectionOptions) -> None:
        settings = self._settings
        ready = asyncio.Event()
        self._readiness.needs("the webhook's certificate", ready.is_set)
        options = WebhookOptions(
            namespace=settings.namespace,
            injection=injection,
            service=settings.webhook_service,
            secret=settings.webhook_secret,
            configuration=settings.webhook_configuration,
            host=settings.host,
            port=settings.webhook_port,
        )
        admit = None if self._bundled is None else self._bundled.admit
        await run_webhook(self._client, options, ready=ready, admit=admit)

    async def _watches(self) -> _Part:
        """Start kopf. It takes the signals for itself and, at its end, ends what began after it."""
        stop, ready = asyncio.Event(), asyncio.Event()
        shown = None if self._projector is None else self._projector.shown
        ours = asyncio.all_tasks()
        self._readiness.needs("the watches to begin", ready.is_set)
        # Left to itself, kopf asks for the user's name, and in a container the user has none.
        identity: Any = self._settings.identity
        tasks = await kopf.spawn_tasks(
            identity=identity,
            registry=handlers.registry(self._access, self._cache, self._policies, shown),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop,
            ready_flag=ready,
        )
        self._catch_signals()
        return _Part(asyncio.create_task(kopf.run_tasks(tasks, ignored=ours), name="watches"), stop)

    async def _wait_and_stop(self) -> int:
        stopping = asyncio.create_task(self._stopping.wait(), name="signal")
        tasks = {part.task for part in self._parts}
        ended, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in ended & tasks:
            error = None if task.cancelled() else task.exception()
            _log.error("%s ended by itself", task.get_name(), exc_info=error)
        told = self._stopping.is_set()
        for part in self._parts:
            await _stop(part)
        stopping.cancel()
        return 0 if told else 1


async def _stop(part: _Part) -> None:
    if part.stop is None:
        part.task.cancel()
    else:
        part.stop.set()
    _, late = await asyncio.wait({part.task}, timeout=STOP_SECONDS)
    for task in late:
        _log.warning("%s does not stop and is cancelled", task.get_name())
        task.cancel()
    if not late and not part.task.cancelled():
        with contextlib.suppress(Exception):  # it was logged when it ended
            part.task.result()


if __name__ == "__main__":
    main()
