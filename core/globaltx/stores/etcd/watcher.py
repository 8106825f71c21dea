"""List, then watch, for ever: resumes, lists anew when it must, and never dies silently.

What is yielded is level-triggered: a `Listing` says how all keys of a prefix stand (it comes first,
and again whenever changes may have been missed), `Changes` what has become of some. A watch is ended
after a silence and resumed from the revision behind the last change, by the next member if that one
does not answer; when etcd has thrown that revision away, everything is listed anew, and so it is
after `FAULTS_MAX` faults in a row, because etcd may have been restored to an older state.

etcd sends a message for each of its transactions, at once. Who is in no hurry lets the watch rest
after each message, and gets what has come meanwhile in one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.stores.etcd.client import SILENCE, Listing
from globaltx.stores.etcd.errors import CompactedError, EtcdError
from globaltx.stores.kubernetes.watcher import FAULTS_MAX, Backoff, Health

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from globaltx.stores.etcd.client import EtcdClient
    from globaltx.stores.etcd.messages import Changes

_log = logging.getLogger(__name__)


BEHIND_MAX = 500
"""By how many revisions a watch may be behind and rest all the same; etcd sends 1,000 in one message."""


class Watcher:
    """Follows the keys of one prefix.

    ``silence`` is how long a watch may say nothing, ``rest`` how long it is left closed after each
    message that has caught up, both in seconds. Without ``deletes`` only a listing tells what has gone.
    """

    def __init__(  # noqa: PLR0913  each is a choice of its own, most have a default
        self,
        client: EtcdClient,
        prefix: str,
        *,
        silence: float = SILENCE,
        rest: float = 0.0,
        deletes: bool = True,
        backoff: Backoff | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.health = Health()
        self._client = client
        self._prefix = prefix
        self._silence = silence
        self._rest = rest
        self._deletes = deletes
        self._backoff = backoff or Backoff(most=5.0)
        self._clock = clock
        self._chance = chance
        self._revision: int | None = None

    async def follow(self) -> AsyncGenerator[Listing | Changes, None]:
        """Yield how things stand, for ever; close the generator (``aclosing``) when you leave it."""
        self._revision = None
        while True:
            try:
                async with aclosing(self._once()) as seen:
                    async for each in seen:
                        yield each
            except EtcdError as error:
                await self._wait_out(error)

    async def _once(self) -> AsyncGenerator[Listing | Changes, None]:
        """List if there is no position, then one watch from the position to its end, or its rest."""
        if self._revision is None:
            listing = await self._client.list(self._prefix)
            yield listing
            self._revision = listing.revision
            self.health.synced = True
            self.health.contact(self._clock())
        watching = self._client.watch(
            self._prefix,
            self._revision + 1,
            silence=self._silence,
            deletes=self._deletes,
            opened=self._opened,
        )
        async with aclosing(watching) as messages:
            async for each in messages:
                yield each
                self._revision = each.revision  # only now: what was not taken comes again
                self._opened()
                if self._rest and each.behind <= BEHIND_MAX:
                    break
            else:
                return
        await asyncio.sleep(self._rest)

    def _opened(self) -> None:
        """The member holds our watch, or has told something: all is well."""
        self.health.progress(self._clock())

    async def _wait_out(self, error: EtcdError) -> None:
        self.health.fault(error)
        if isinstance(error, CompactedError) or self.health.faults % FAULTS_MAX == 0:
            self._revision = None
        delay = self._backoff.delay(self.health.faults, self._chance())
        _log.info("watch of %s: %s; again in %.1f s", self._prefix, error, delay)
        await asyncio.sleep(delay)
