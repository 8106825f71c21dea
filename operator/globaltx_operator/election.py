"""Only the leader carries out. The watches feed every replica, so that a takeover starts at once."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from globaltx_operator.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx.transaction.xid import Xid
    from globaltx_operator.cache import Cache
    from globaltx_operator.metrics import Metrics
    from globaltx_operator.policies import PolicyCache, PolicyReconciler
    from globaltx_operator.reconcile import Reconciler

_log = logging.getLogger(__name__)


class Beside(Protocol):
    """What a leader does besides."""

    async def run(self) -> None:
        """Go on until cancelled."""


class Leadership:
    """The work of one term: everything that is known is looked at anew, then whatever changes."""

    def __init__(
        self,
        cache: Cache,
        reconciler: Reconciler,
        policy_cache: PolicyCache,
        policy_reconciler: PolicyReconciler,
        metrics: Metrics,
        workers: int,
        beside: Sequence[Beside] = (),
    ) -> None:
        self._cache = cache
        self._reconciler = reconciler
        self._policy_cache = policy_cache
        self._policy_reconciler = policy_reconciler
        self._metrics = metrics
        self._workers = workers
        self._beside = tuple(beside)
        self._transactions: WorkQueue[Xid] | None = None
        metrics.queue("transactions", lambda: self._transactions.depth if self._transactions else 0)

    async def lead(self, epoch: int) -> None:
        """Carry out until cancelled; called by the elector for each term that is won."""
        transactions = WorkQueue(self._reconciler, workers=self._workers)
        policies = WorkQueue(self._policy_reconciler, workers=1)
        self._transactions = transactions
        self._cache.changed = transactions.add
        self._policy_cache.changed = policies.add
        for xid in self._cache.xids():
            transactions.add(xid)
        for namespace in self._policy_cache.namespaces():
            policies.add(namespace)
        _log.info("leading in epoch %d: %d transactions to look at", epoch, transactions.depth)
        self._metrics.leader.set(1)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(transactions.run(), name="transactions")
                group.create_task(policies.run(), name="policies")
                for each in self._beside:
                    group.create_task(each.run(), name=type(each).__name__)
        finally:
            self._metrics.leader.set(0)
            self._cache.changed = self._policy_cache.changed = None
            self._transactions = None
            _log.info("no longer leading in epoch %d", epoch)
