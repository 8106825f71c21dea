"""The election of who carries phase two out for the application, and that it goes on whatever happens."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from globaltx.stores.kubernetes.watcher import Backoff
from globaltx_sidecar.faults import reason_of

if TYPE_CHECKING:
    from globaltx.stores.base import Store
    from globaltx.stores.kubernetes.lease import Elector
    from globaltx_sidecar.health import Health

PART = "phase two"
GOOD_SECONDS = 60.0
"""A term that lasted this long was a good one: the next failure counts as the first."""

_log = logging.getLogger(__name__)
_AGAIN = Backoff(first=0.5, most=30.0)


class Leads(Protocol):
    """What is done by the one sidecar of an app that leads."""

    async def lead(self, epoch: int) -> None:
        """Do it, for ever, until cancelled; ``epoch`` is the term's number."""


class Together:
    """Several of them in one term."""

    def __init__(self, *parts: Leads) -> None:
        self._parts = parts

    async def lead(self, epoch: int) -> None:
        """Do all of it; when one fails, all end."""
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts:
                tasks.create_task(part.lead(epoch), name=type(part).__name__)


async def lead(leader: Leads, elector: Elector, health: Health) -> None:
    """Stand for election, for ever; whatever goes wrong is told and tried again."""
    now, failures = asyncio.get_running_loop().time, 0
    while True:
        began = now()
        try:
            await elector.run(leader.lead)
        except Exception as error:  # noqa: BLE001  whatever it is, phase two must go on
            _log.exception("phase two stopped and is taken up again")
            health.waits(PART, reason_of(error), repr(error))
        failures = 1 if now() - began > GOOD_SECONDS else failures + 1
        await asyncio.sleep(_AGAIN.delay(failures, random.random()))  # noqa: S311  jitter
        health.gone(PART)


async def lead_once_needed(leader: Leads, elector: Elector, health: Health, store: Store, app: str) -> None:
    """The same, from the first branch on that waits: an application without any needs no lease.

    There can be branches although no route makes any: one of an older policy may have.
    """
    async with aclosing(store.watch(app)) as branches:
        async for branch in branches:
            _log.info("%s waits for phase two", branch.id.name)
            break
    await lead(leader, elector, health)
