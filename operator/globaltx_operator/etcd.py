"""The operator's part for transactions that are kept in an etcd.

It follows all keys, and decides by the same function as for resources: it rolls back at the deadline,
tells those branches that `decide` has missed, sees when all have ended, and forgets what has. What
an operator of resources would write into a status is kept here in memory, and told in the log and by
the metrics; a new leader makes it anew from the keys. Resources show it where that is asked for
(``globaltx_operator.projection``), and an outcome that a person sets there is taken here.

When it fails half-way nothing is lost: every step is looked for again in the keys as they are then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote

from globaltx.coordinator.conditions import Status
from globaltx.coordinator.decide import decide
from globaltx.coordinator.observed import Observed, ObservedBranch, Weight
from globaltx.manifest.projected import Wanted
from globaltx.stores.base import StoreError, UnknownTransactionError
from globaltx.stores.etcd.client import Listing
from globaltx.stores.etcd.errors import EtcdError
from globaltx.stores.etcd.keys import BEGIN, InvalidRecordError
from globaltx.stores.etcd.passed import passed
from globaltx.stores.etcd.record import Record
from globaltx.stores.etcd.watcher import Watcher
from globaltx.transaction.conflict import with_new
from globaltx.transaction.states import Outcome, State
from globaltx.transaction.xid import Xid
from globaltx.values import replace
from globaltx_operator.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from globaltx.coordinator.observed import Plan
    from globaltx.stores.etcd.client import EtcdClient
    from globaltx.stores.etcd.messages import Changes
    from globaltx.stores.etcd.requests import KeyValue
    from globaltx.stores.etcd.store import EtcdStore
    from globaltx.transaction.model import Branch, Snapshot
    from globaltx_operator.metrics import Metrics
    from globaltx_operator.projection import Projector

KEEP = timedelta(minutes=3)
"""How long what has ended is kept at most: a late local commit is cleared away by then."""
SETTLE_DOWN = timedelta(milliseconds=250)
"""How long after a change a transaction is looked at that has an outcome: most have ended by then."""
SETTLE_DOWN_UNDECIDED = timedelta(milliseconds=500)
"""The same of one without. One that has ended is looked at at once, so that it is not shown any more."""
REST_SECONDS = 0.25
"""How long changes are left to gather: nothing that is done here is in more of a hurry, and each message
costs etcd, which the clients wait for, as much as half a write."""
TELL_AFTER = timedelta(seconds=2)
"""How long whoever decided has to tell the branches by itself."""
COMPACT_SECONDS = 300.0

_NEW = Status()
"""Of what was not looked at yet."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Known:
    """A transaction's keys, which of its branches were told, and what was made of them last."""

    record: Record
    open: set[tuple[str, str]]
    status: Status


@dataclass(frozen=True, slots=True)
class _Over:
    """A transaction that has ended: until when it is kept, and which of those that had its name it is."""

    until: datetime
    decided_in: int


class EtcdKeeper:
    """Carries out for all transactions below the store's prefix; call `run` while leading.

    ``compact_seconds`` is how often history older than that is thrown away (0: somebody else does).
    """

    def __init__(  # noqa: PLR0913  each is a choice of its own, most have a default
        self,
        client: EtcdClient,
        store: EtcdStore,
        metrics: Metrics,
        utc: Callable[[], datetime],
        *,
        workers: int = 16,
        keep: timedelta = KEEP,
        compact_seconds: float = COMPACT_SECONDS,
        projector: Projector | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._metrics = metrics
        self._utc = utc
        self._workers = workers
        self._keep = keep
        self._compact_seconds = compact_seconds
        self._projector = projector
        self._known: dict[Xid, _Known] = {}
        self._over: dict[Xid, _Over] = {}
        self._queue: WorkQueue[Xid] | None = None
        self.watcher = self._new_watcher()
        metrics.kept(self.states)

    def _new_watcher(self) -> Watcher:
        return Watcher(self._client, self._store.keys.prefix, rest=REST_SECONDS, deletes=False)

    def states(self) -> Counter[State]:
        """How many transactions stand where, as far as they are followed."""
        return Counter(each.status.state for each in self._known.values())

    def is_well(self) -> bool:
        """Whether the watch goes on; so it is where another replica leads, which alone watches."""
        return self._queue is None or (self.watcher.health.synced and not self.watcher.health.last_fault)

    async def run(self) -> None:
        """Follow and carry out until cancelled."""
        self.watcher = self._new_watcher()
        self._queue = WorkQueue(self.review, workers=self._workers)
        self._known.clear()
        self._over.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._queue.run(), name="transactions in etcd")
                group.create_task(self._follow(self._queue), name="watch etcd")
                if self._projector is not None:
                    group.create_task(self._projector.run(self._queue.add), name="projection")
                if self._compact_seconds:
                    group.create_task(self._compact(), name="compact etcd")
        finally:
            self._queue = None

    async def review(self, xid: Xid) -> timedelta | None:
        """Look at one transaction and do what is to be done; return when to look again."""
        if xid in self._over:
            return await self._forget(xid)
        known = self._known.get(xid)
        if known is None:
            return None
        kept = self._pass(xid, known)
        return await self._look(xid, known) if kept is None else kept

    def _pass(self, xid: Xid, known: _Known) -> timedelta | None:
        """Be done with one that went smoothly; how long it is kept, None where it has to be looked at."""
        ended = passed(known.record) if known.status is _NEW else None
        if ended is None or (self._projector is not None and self._projector.shows_ended(xid, ended.policy)):
            return None
        self._metrics.passed(Outcome.COMMIT, ended.reason)
        self._hide(xid)
        kept = min(ended.ttl, self._keep)
        self._let_go(xid, known, self._utc() + kept)
        return kept

    async def _look(self, xid: Xid, known: _Known) -> timedelta | None:
        try:
            snapshot = known.record.snapshot()
        except InvalidRecordError as error:
            _log.warning("%s is left alone: %s", xid, error)
            return None
        if snapshot is None:
            return None  # it is being forgotten
        now = self._utc()
        observed, wait = self._observe(known, snapshot, now)
        plan = self._as_asked(observed, decide(observed, now))
        try:
            await self._resolve(snapshot)
            await self._carry_out(xid, known, observed, plan)
        except UnknownTransactionError:
            # Somebody has removed it by hand, which we do not hear of, and may have begun it anew meanwhile.
            if self._known.get(xid) is known:
                self._drop(xid)
            return None
        except StoreError as error:
            _log.warning("%s: %s", xid, error)
            return TELL_AFTER
        if self._projector is not None:
            rows = {each.id.name: known.record.rows(each.id) for each in snapshot.branches}
            self._projector.show(xid, Wanted(snapshot.transaction, snapshot.branches, known.status, rows))
        return plan.requeue_after if wait is None else wait

    def _as_asked(self, observed: Observed, plan: Plan) -> Plan:
        """Take the outcome that a person has set at the resource, if none was taken yet."""
        if self._projector is None or observed.transaction.decision is not None:
            return plan
        asked = self._projector.asked(observed.transaction)
        return plan if asked is None else replace(plan, take=asked)

    async def _resolve(self, snapshot: Snapshot) -> None:
        """Carry what people have decided at the resources to the sidecars."""
        for each in snapshot.branches:
            if self._projector is not None and each.state is State.CONFLICT:
                told = self._projector.resolutions(snapshot.transaction, each.id)
                if with_new(each.resolutions, told) != each.resolutions:
                    await self._store.resolve(each.id, told)

    def _observe(self, known: _Known, snapshot: Snapshot, now: datetime) -> tuple[Observed, timedelta | None]:
        """What `decide` looks at, and how long whoever decided may still tell the branches by itself."""
        transaction = replace(snapshot.transaction, ttl=min(snapshot.transaction.ttl, self._keep))
        decision, wait = transaction.decision, None
        untold = {each.id for each in snapshot.branches if not self._was_told(known, each)}
        if decision is not None and untold:
            left = TELL_AFTER - (now - (decision.at or now))
            if timedelta() < left <= TELL_AFTER:
                wait, untold = left, set()
        branches = tuple(
            ObservedBranch(replace(each, outcome=None) if each.id in untold else each, held=False, owned=True)
            for each in snapshot.branches
        )
        return Observed(transaction, known.status, branches, complete=True, held=False), wait

    def _was_told(self, known: _Known, branch: Branch) -> bool:
        return branch.settled or (branch.id.app, branch.id.resource) in known.open

    async def _carry_out(self, xid: Xid, known: _Known, observed: Observed, plan: Plan) -> None:
        if plan.take is not None:
            await self._store.decide(xid, plan.take)  # its keys will wake us again
        for branch in plan.register:
            await self._store.register(branch)
        if plan.stamp:
            await self._store.stamp(xid)
        for over, settlement in plan.give_up:
            await self._store.settle(over, settlement)
        for notice in plan.notices:
            level = logging.WARNING if notice.weight is Weight.WARNING else logging.DEBUG
            _log.log(level, "%s: %s: %s", xid, notice.reason, notice.message)
            if self._projector is not None:
                self._projector.note(xid, notice)
        if plan.status is not None:
            self._metrics.moved(observed, plan.status)
            known.status = plan.status
        if known.status.settled_at is not None and not known.status.telling:
            self._let_go(xid, known, known.status.settled_at + observed.transaction.ttl)

    def _let_go(self, xid: Xid, known: _Known, until: datetime) -> None:
        """Its keys are not needed any more, and at a thousand a second they would be too many."""
        self._over[xid] = _Over(until, known.record.decided_in)
        del self._known[xid]

    async def _forget(self, xid: Xid) -> timedelta | None:
        over = self._over[xid]
        left = over.until - self._utc()
        if left > timedelta():
            return left
        try:
            await self._store.remove(xid, over.decided_in)
        except StoreError as error:
            _log.warning("%s: %s", xid, error)
            return TELL_AFTER
        if self._over.get(xid) is over:  # else it was begun anew meanwhile
            del self._over[xid]
            self._hide(xid)
        return None

    def _drop(self, xid: Xid) -> None:
        self._known.pop(xid, None)
        self._hide(xid)

    def _hide(self, xid: Xid) -> None:
        if self._projector is not None:
            self._projector.hide(xid)

    def _knows(self, xid: Xid) -> bool:
        return xid in self._known or xid in self._over

    async def _follow(self, queue: WorkQueue[Xid]) -> None:
        async with aclosing(self.watcher.follow()) as seen:
            async for each in seen:
                if isinstance(each, Listing):
                    self._listed(queue, each)
                else:
                    self._changed(queue, each)

    def _listed(self, queue: WorkQueue[Xid], listing: Listing) -> None:
        statuses = {xid: each.status for xid, each in self._known.items()}
        self._known.clear()
        self._keep_over({each.key: each.revision for each in listing.found})
        for found in listing.found:
            self._put(found)
        for xid, known in self._known.items():
            known.status = statuses.get(xid, known.status)
            queue.add(xid)
        if self._projector is not None:
            self._projector.listed(self._knows)

    def _keep_over(self, found: dict[str, int]) -> None:
        """Of what is over keep what is still there as it was, and not something else by that name."""
        decision = self._store.keys.decision
        kept = {xid: over for xid, over in self._over.items() if found.get(decision(xid)) == over.decided_in}
        self._over.clear()
        self._over.update(kept)

    def _changed(self, queue: WorkQueue[Xid], changes: Changes) -> None:
        for xid in {self._put(each.key_value) for each in changes.changes}:
            if xid is not None and xid in self._known:
                _queue_up(queue, xid, self._known[xid].record)

    def _put(self, found: KeyValue) -> Xid | None:
        """Take one key in; the xid that it is of, None if it is another's, or of what is over."""
        namespace, (kind, *rest) = self._store.keys.parts(found.key)
        if kind == "tx" and len(rest) in {2, 4}:  # NAME/begin, NAME/branch/APP/RESOURCE
            xid = Xid(namespace, rest[0])
            if rest[1] == BEGIN:
                self._look_for_another(xid, found)
            if (known := self._of(xid)) is not None:
                known.record.put(rest[1:], found.value, found.revision)
        elif kind == "open" and len(rest) == 3:  # noqa: PLR2004  APP/NAME/RESOURCE
            xid = Xid(namespace, rest[1])
            if (known := self._of(xid)) is not None:
                known.open.add((unquote(rest[0]), unquote(rest[2])))
        else:
            return None
        return xid

    def _look_for_another(self, xid: Xid, begin: KeyValue) -> None:
        """Let go of what had the same name before; that it was removed we do not hear."""
        over, known = self._over.get(xid), self._known.get(xid)
        if over is not None and begin.revision > over.decided_in:
            del self._over[xid]
        if known is not None and known.record.begin not in {None, begin.value}:
            del self._known[xid]

    def _of(self, xid: Xid) -> _Known | None:
        """What is known of a transaction; None if that is over, and only waits to be forgotten."""
        known = self._known.get(xid)
        if known is None and xid not in self._over:
            known = self._known[xid] = _Known(Record(xid), set(), _NEW)
        return known

    async def _compact(self) -> None:
        """Throw away history that is older than one interval: a watch that is behind lists anew."""
        revision = 0
        while True:
            try:
                if revision:
                    await self._client.compact(revision)
                revision = await self._client.revision()
            except EtcdError as error:
                _log.info("etcd was not compacted: %s", error)
            await asyncio.sleep(self._compact_seconds)


def _queue_up(queue: WorkQueue[Xid], xid: Xid, record: Record) -> None:
    """Have a transaction looked at when that is of use: those that end at once are looked at once."""
    if record.decision is None:
        queue.add_later(xid, SETTLE_DOWN_UNDECIDED.total_seconds())
    elif record.unsettled:
        queue.add_later(xid, SETTLE_DOWN.total_seconds())
    else:
        queue.add(xid)
