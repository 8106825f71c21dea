"""Follows the TransactionPolicies that the sidecar was injected with: routes change without a restart.

Only routes, and where sagas and notifications may go, are taken over live. What decides where something
listens (ports, datasources, aliases) was fixed when the pod was made, and comes with the next pod. A
policy that is broken, contradictory or gone leaves the last good routes in force, and ``/readyz`` says so.

The watch is also how the sidecar knows whether the store answers while it has nothing to do.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.manifest.policy import InvalidPolicyError, PolicyConflictError, merge, read_policy
from globaltx.stores.kubernetes.client import EventType, Listing
from globaltx.stores.kubernetes.errors import ForbiddenError
from globaltx.stores.kubernetes.resource import POLICIES
from globaltx.stores.kubernetes.watcher import Watcher
from globaltx_sidecar.http.filter import AmbiguousRoutesError, Filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx.manifest.settings import SidecarSettings
    from globaltx.stores.kubernetes.client import KubernetesClient, WatchEvent
    from globaltx.stores.kubernetes.transport import Json
    from globaltx_sidecar.health import Health
    from globaltx_sidecar.notify.sender import Sender
    from globaltx_sidecar.saga.conductor import Conductor

STORE_PART = "store"
ROUTES_PART = "routes"
LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class PolicyFollower:
    """Hands over new routes whenever the followed policies give others than before."""

    def __init__(
        self,
        client: KubernetesClient,
        settings: SidecarSettings,
        health: Health,
        use: Callable[[Filter], None],
        conductor: Conductor | None = None,
        sender: Sender | None = None,
    ) -> None:
        self._watcher = Watcher(client, POLICIES, settings.namespace)
        self._names = frozenset(settings.policies)
        self._routes = settings.http.routes if settings.http else ()
        self._edge = bool(settings.http and settings.http.edge)
        self._health = health
        self._use = use
        self._conductor = conductor
        self._sender = sender
        self._policies: dict[str, Json] = {}

    async def run(self) -> None:
        """Follow, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_health(), name="health of the store")
            async with aclosing(self._watcher.follow()) as seen:
                async for each in seen:
                    self._note(each)
                    self._take_over()

    def _note(self, seen: Listing | WatchEvent) -> None:
        if isinstance(seen, Listing):
            self._policies = {each["metadata"]["name"]: each for each in seen.items}
        elif seen.type is EventType.DELETED:
            self._policies.pop(seen.object["metadata"]["name"], None)
        else:
            self._policies[seen.object["metadata"]["name"]] = seen.object

    def _take_over(self) -> None:
        if not self._names:
            return  # nothing was said of where the routes came from
        gone = sorted(self._names - self._policies.keys())
        if gone:
            message = f"{', '.join(gone)} is gone; the routes it had stay until the pod is made anew"
            self._health.waits(ROUTES_PART, Reason.NO_POLICY, message)
            return
        try:
            merged = merge(read_policy(self._policies[name]) for name in sorted(self._names))
            routes = merged.http.routes if merged.http else ()
            new = Filter(routes, edge=bool(merged.http and merged.http.edge))
        except (InvalidPolicyError, PolicyConflictError, AmbiguousRoutesError) as error:
            self._health.waits(ROUTES_PART, Reason.POLICY_INVALID, f"the last good routes stay: {error}")
            return
        self._health.ok(ROUTES_PART)
        if self._conductor is not None:
            self._conductor.allow(merged.egress or ())
        if self._sender is not None:
            self._sender.allow(merged.notifying.egress if merged.notifying else ())
        if (routes, new.edge) != (self._routes, self._edge):
            _log.info("routes changed: %s", ", ".join(each.name for each in routes) or "none")
            self._routes, self._edge = routes, new.edge
            self._use(new)

    async def _tell_health(self) -> None:
        watch = self._watcher.health
        while True:
            if watch.last_fault:
                refused = watch.last_fault.startswith(ForbiddenError.__name__)
                reason = Reason.STORE_REFUSED if refused else Reason.STORE_UNAVAILABLE
                self._health.waits(STORE_PART, reason, watch.last_fault)
            elif watch.synced:
                self._health.ok(STORE_PART)
            await asyncio.sleep(LOOK_SECONDS)
