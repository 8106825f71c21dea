"""List, then watch, for ever: resumes, lists anew when it must, and never dies silently.

What is yielded is level-triggered: a `Listing` says how everything stands (it comes first, and
again whenever events may have been missed), a `WatchEvent` how one object stands. Between two
listings no event is left out.

A fault is waited out with growing, jittered delay. After `FAULTS_MAX` of them in a row the
position is given up and everything is listed anew: the server may have been restored to an
older state, or one event of the stream may be unreadable.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.stores.kubernetes.client import WATCH_SECONDS, EventType, Listing, WatchEvent
from globaltx.stores.kubernetes.errors import ExpiredError, KubernetesError, UnavailableError
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.resource import Resource

FAULTS_MAX = 5
SHORT_WATCH = 1.0
"""A watch that ends sooner than this, in seconds, without an event counts as a fault."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after the n-th fault in a row, in seconds; ``chance`` is in [0, 1)."""

    first: float = 0.2
    most: float = 10.0

    def delay(self, faults: int, chance: float, asked: float | None = None) -> float:
        """At least half of the growing delay, at random up to all of it; never less than was asked for."""
        grown = min(self.most, self.first * 2.0 ** min(faults - 1, 32))
        return max(grown * (0.5 + chance / 2), min(asked or 0.0, self.most))


@dataclass(slots=True)
class Health:
    """How a watcher is doing; times are readings of its clock.

    ``last_contact`` is when the server last answered, ``faults`` counts the faults since the
    last progress, ``last_fault`` is the sentence of the latest while it is not overcome.
    """

    synced: bool = False
    last_contact: float | None = None
    faults: int = 0
    last_fault: str = ""

    def contact(self, now: float) -> None:
        """The server answered."""
        self.last_contact = now
        self.last_fault = ""

    def progress(self, now: float) -> None:
        """Something was received, or nothing was to be."""
        self.contact(now)
        self.faults = 0

    def fault(self, error: Exception) -> None:
        """The server did not answer, or refused."""
        self.faults += 1
        self.last_fault = f"{type(error).__name__}: {error}"


class Watcher:
    """Follows the objects of one kind that the selectors choose."""

    def __init__(  # noqa: PLR0913  each is a choice of its own, most have a default
        self,
        client: KubernetesClient,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        backoff: Backoff | None = None,
        watch_seconds: int = WATCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.health = Health()
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._backoff = backoff or Backoff()
        self._watch_seconds = watch_seconds
        self._clock = clock
        self._chance = chance
        self._version: str | None = None

    async def follow(self) -> AsyncGenerator[Listing | WatchEvent, None]:
        """Yield how things stand, for ever; close the generator (``aclosing``) when you leave it."""
        self._version = None
        while True:
            try:
                async with aclosing(self._once()) as seen:
                    async for each in seen:
                        yield each
            except KubernetesError as error:
                await self._wait_out(error)

    async def _once(self) -> AsyncGenerator[Listing | WatchEvent, None]:
        """List if there is no position, then one watch from the position to its end."""
        if self._version is None:
            yield await self._list()
        began, version = self._clock(), self._version
        watching = self._client.watch(
            self._resource,
            self._namespace,
            resource_version=str(self._version),
            labels=self._labels,
            fields=self._fields,
            seconds=self._watch_seconds,
            opened=lambda: self.health.contact(self._clock()),
        )
        async with aclosing(watching) as events:
            async for event in events:
                if event.type is not EventType.BOOKMARK:
                    yield event
                self._version = event.resource_version  # only now: what was not taken comes again
                self.health.progress(self._clock())
        self._ended(began, moved=version != self._version)

    async def _list(self) -> Listing:
        listing = await self._client.list(
            self._resource, self._namespace, labels=self._labels, fields=self._fields
        )
        self._version = listing.resource_version
        self.health.synced = True
        self.health.contact(self._clock())
        return listing

    def _ended(self, began: float, *, moved: bool) -> None:
        now = self._clock()
        if not moved and now - began < SHORT_WATCH:
            message = f"the watch of {self._resource.plural} was ended at once"
            raise UnavailableError(message)
        self.health.progress(now)

    async def _wait_out(self, error: KubernetesError) -> None:
        self.health.fault(error)
        if isinstance(error, ExpiredError) or self.health.faults % FAULTS_MAX == 0:
            self._version = None
        asked = error.retry_after if isinstance(error, UnavailableError) else None
        delay = self._backoff.delay(self.health.faults, self._chance(), asked)
        _log.info("watch of %s: %s; again in %.1f s", self._resource.plural, error, delay)
        await asyncio.sleep(delay)
