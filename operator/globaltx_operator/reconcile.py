"""One pass for one xid: gather, decide, carry out, until there is nothing more to do at once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from globaltx.coordinator.decide import decide, decide_unknown
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from globaltx.coordinator.observed import Plan
    from globaltx.transaction.xid import Xid
    from globaltx_operator.carry_out import CarryOut
    from globaltx_operator.gather import Gathered, Gatherer
    from globaltx_operator.metrics import Metrics

ROUNDS_MAX = 5
"""Take the outcome, list the branches, write the end: three are enough; more is a bug."""

_log = logging.getLogger(__name__)


class Reconciler:
    """What the work queue calls with each xid."""

    def __init__(
        self, gatherer: Gatherer, carry_out: CarryOut, metrics: Metrics, utc: Callable[[], datetime]
    ) -> None:
        self._gatherer = gatherer
        self._carry_out = carry_out
        self._metrics = metrics
        self._utc = utc

    async def __call__(self, xid: Xid) -> timedelta | None:
        """Do what is to be done now; return when to come again if nothing is heard."""
        with self._metrics.pass_seconds.time():
            gathered = await self._gatherer.gather(xid)
            if gathered is None:
                return None
            if gathered.transaction is None:
                return await self._unknown(gathered)
            return await self._known(gathered)

    async def _known(self, gathered: Gathered) -> timedelta | None:
        for _ in range(ROUNDS_MAX):
            plan = decide(gathered.observed, self._utc())
            carried = await self._carry_out.carry_out(plan, gathered)
            if carried is None or not (plan.again or carried.leaving is not gathered.leaving):
                return plan.requeue_after
            gathered = await self._gatherer.complete(carried) if plan.complete else carried
        message = f"{gathered.xid}: no rest after {ROUNDS_MAX} rounds"
        raise AssertionError(message)

    async def _unknown(self, gathered: Gathered) -> timedelta | None:
        """Branches whose transaction does not exist."""
        soonest: timedelta | None = None
        for each in gathered.orphans():
            plan: Plan = decide_unknown(each, self._utc())
            mine = tuple(
                branch for branch in gathered.branches if branch["metadata"]["name"] == each.branch.id.name
            )
            await self._carry_out.carry_out(plan, replace(gathered, branches=mine))
            if plan.requeue_after is not None:
                soonest = min(soonest or plan.requeue_after, plan.requeue_after)
        return soonest
