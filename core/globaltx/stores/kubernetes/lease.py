"""Elects one leader among processes by a Lease of the API server.

The rules are in ``globaltx.stores.kubernetes.election``; here is their carrying out. Taking and
renewing are compare-and-set by resourceVersion. A fault while renewing is retried until the
deadline, then the work is cancelled; a release happens only after the work has ended.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Any

from globaltx.stores.kubernetes.election import (
    Claim,
    Sighting,
    Timing,
    claim_of,
    patience,
    released,
    renewed,
    sight,
    taken,
)
from globaltx.stores.kubernetes.errors import ConflictError, KubernetesError, NotFoundError
from globaltx.stores.kubernetes.resource import LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import datetime

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.transport import Json

    Lead = Callable[[int], Coroutine[Any, Any, None]]

RELEASE_TIMEOUT = 2.0

_log = logging.getLogger(__name__)


class _LostError(Exception):
    """Somebody else holds the lease."""


class Elector:
    """One candidate for one Lease.

    ``identity`` must be unique among living processes (a pod's name with a random suffix).
    """

    def __init__(  # noqa: PLR0913  each is a choice of its own, most have a default
        self,
        client: KubernetesClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], datetime] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing or Timing()
        self._clock = clock
        self._utc = utc or client.utc
        self._chance = chance
        self._sighting: Sighting | None = None
        self._lease: Json = {}
        self._until = -math.inf

    @property
    def leading(self) -> bool:
        """Whether we lead at this moment: ask right before a write that only the leader should do."""
        return self._clock() < self._until

    @property
    def claim(self) -> Claim | None:
        """The lease as it was last seen; None until it was."""
        return None if self._sighting is None else self._sighting.claim

    async def run(self, lead: Lead) -> None:
        """Campaign, and call ``lead(epoch)`` for each term that is won, until ``lead`` ends by itself.

        ``lead`` is cancelled when the lease is lost; it has ``duration - renew_deadline`` seconds
        to end before another may start. When ``lead`` returns or raises, or this call is
        cancelled, the lease is released so that another takes over at once.
        """
        while True:
            await self._campaign()
            if await self._reign(lead):
                return

    async def _campaign(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._timing.renew_deadline):
                    if await self._take():
                        return
            except (TimeoutError, KubernetesError) as error:
                _log.info("lease %s: %s", self._name, _sentence(error))
            await asyncio.sleep(self._timing.retry * (0.8 + 0.4 * self._chance()))

    async def _take(self) -> bool:
        lease = await self._read()
        if patience(self._sighting, self._identity, self._clock()) > 0:
            return False
        sent = self._clock()
        epoch = (self._sighting.claim.epoch if self._sighting else 0) + 1
        spec = taken(self._identity, epoch, self._timing, self._utc())
        try:
            if lease is None:
                metadata = {"name": self._name, "namespace": self._namespace}
                lease = {"metadata": metadata, "spec": spec}
                written = await self._client.create(LEASES, lease, self._namespace)
            else:
                written = await self._client.replace(LEASES, {**lease, "spec": spec}, self._namespace)
        except ConflictError:
            return False
        self._won(written, sent)
        return True

    async def _read(self) -> Json | None:
        """The lease, sighted; one that is gone keeps its last sighting, for its holder may not know yet."""
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except NotFoundError:
            return None
        self._sighting = sight(self._sighting, claim_of(lease, self._timing), self._clock())
        return lease

    def _won(self, lease: Json, sent: float) -> None:
        self._lease = lease
        self._sighting = Sighting(claim_of(lease, self._timing), self._clock())
        self._until = sent + self._timing.renew_deadline

    async def _reign(self, lead: Lead) -> bool:
        """One term; whether the work ended by itself."""
        epoch = claim_of(self._lease, self._timing).epoch
        _log.info("lease %s: leading, epoch %d", self._name, epoch)
        renewing = asyncio.create_task(self._hold(), name=f"renew {self._name}")
        leading = asyncio.create_task(lead(epoch), name=f"lead {self._name}")
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
            ended = leading.done()
        finally:
            await _end(leading)  # renewed meanwhile: nobody may start before the work has ended
            await _end(renewing)
            await self._release()
        for task in (renewing, leading):
            if not task.cancelled():
                task.result()
        return ended

    async def _hold(self) -> None:
        """Renew as long as that is possible in time."""
        try:
            while True:
                async with asyncio.timeout(self._until - self._clock()):
                    await asyncio.sleep(self._timing.retry)
                    await self._try_renewal()
        except TimeoutError:
            _log.warning("lease %s: not renewed in time, giving up", self._name)
        except _LostError as error:
            _log.warning("lease %s: %s", self._name, error)
            self._until = -math.inf

    async def _try_renewal(self) -> None:
        """One attempt, short enough that another fits in before the deadline."""
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 3):
                await self._renew()
        except (TimeoutError, KubernetesError) as error:
            _log.info("lease %s: renewal: %s", self._name, _sentence(error))

    async def _renew(self) -> None:
        sent = self._clock()
        spec = renewed(self._lease["spec"], self._utc())
        try:
            written = await self._client.replace(LEASES, {**self._lease, "spec": spec}, self._namespace)
        except ConflictError:
            await self._look_again()
        except NotFoundError as error:
            message = "somebody deleted it"
            raise _LostError(message) from error
        else:
            self._won(written, sent)

    async def _look_again(self) -> None:
        """Somebody wrote the lease; perhaps we did, and the answer was lost."""
        lease = await self._client.get(LEASES, self._name, self._namespace)
        ours, found = claim_of(self._lease, self._timing), claim_of(lease, self._timing)
        if (found.holder, found.epoch) != (self._identity, ours.epoch):
            message = f"{found.holder or 'nobody'} holds it now"
            raise _LostError(message)
        self._lease = lease

    async def _release(self) -> None:
        if not self.leading:
            return
        self._until = -math.inf
        spec = released(self._lease["spec"], self._utc())
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT):
                await self._client.replace(LEASES, {**self._lease, "spec": spec}, self._namespace)
        except (TimeoutError, KubernetesError) as error:
            _log.info("lease %s: not released (%s); others wait it out", self._name, _sentence(error))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _sentence(error: Exception) -> str:
    return str(error) or "no answer in time"
