"""Shows transactions that are kept in an etcd as resources, as their policies ask for.

The watches of every replica tell what is shown; only the leader writes. Each write waits for a token,
and what is to be written is looked at again when the token is there: what has changed often meanwhile
costs as much as what has changed once, and what has come and gone costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.coordinator.observed import Notice, Weight
from globaltx.coordinator.policy import Projection
from globaltx.coordinator.reasons import SENTENCES, Reason
from globaltx.manifest.conflicts import read_resolutions
from globaltx.manifest.projected import Shown, Verb, Wanted, Write, asked, is_of, is_projected, next_write
from globaltx.stores.kubernetes.errors import AlreadyExistsError, NotFoundError
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx_operator.cache import Cache, unmanaged
from globaltx_operator.queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import BranchId, Decision, GlobalTransaction
    from globaltx.transaction.xid import Xid
    from globaltx_operator.events import Recorder
    from globaltx_operator.policies import PolicyCache
    from globaltx_operator.rate import TokenBucket

Json = dict[str, Any]

SHOW_AFTER = timedelta(seconds=1)
"""How old a transaction is when it is first shown: most have ended by then."""
WORKERS = 8
RESYNC_SECONDS = 60.0
"""How often everything is compared anew, should a watch not have told something."""
NOTICES_MAX = 8

_log = logging.getLogger(__name__)


class Projector:
    """Keeps the resources as they are wanted; call `run` while leading.

    ``shown`` is fed by the watches on every replica. ``namespaces`` are those that may be written to
    (none: all).
    """

    def __init__(
        self,
        client: KubernetesClient,
        policies: PolicyCache,
        recorder: Recorder,
        utc: Callable[[], datetime],
        bucket: TokenBucket,
        namespaces: Sequence[str] = (),
    ) -> None:
        self.shown = Cache(unmanaged)
        self._client = client
        self._policies = policies
        self._recorder = recorder
        self._utc = utc
        self._bucket = bucket
        self._namespaces = frozenset(namespaces)
        self._wanted: dict[Xid, Wanted | None] = {}
        self._notices: defaultdict[Xid, list[Notice]] = defaultdict(list)
        self._queue: WorkQueue[Xid] | None = None
        self._knows: Callable[[Xid], bool] | None = None
        self._look_again: Callable[[Xid], None] = lambda _: None

    async def run(self, look_again: Callable[[Xid], None]) -> None:
        """Write until cancelled; ``look_again`` is called where a person may have set an outcome."""
        self._wanted.clear()
        self._notices.clear()
        self._knows = None
        self._look_again = look_again
        self._queue = WorkQueue(self._project, workers=WORKERS)
        self.shown.changed = self._told
        self._policies.shows_otherwise = self._look_at
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._queue.run(), name="projection")
                group.create_task(self._resync(), name="projection resync")
        finally:
            self.shown.changed = self._policies.shows_otherwise = None
            self._queue = None

    def listed(self, knows: Callable[[Xid], bool]) -> None:
        """All transactions that there are have been told; ``knows`` says of each xid whether it is one."""
        self._knows = knows
        for xid in tuple(self.shown.xids()):
            self._told(xid)

    def asked(self, transaction: GlobalTransaction) -> Decision | None:
        """The outcome that somebody has set at the resource."""
        there = self.shown.transaction(transaction.xid)
        return asked(there) if there is not None and is_of(there, transaction) else None

    def resolutions(self, transaction: GlobalTransaction, branch: BranchId) -> tuple[Resolution, ...]:
        """What people have decided at the branch's resource."""
        there = self._branch(branch.xid, branch.name)
        return read_resolutions(there["spec"]) if there is not None and is_of(there, transaction) else ()

    def show(self, xid: Xid, wanted: Wanted) -> None:
        """Show a transaction as it stands now, if its policy asks for it, or comes to ask for it."""
        if wanted.ended and not self._is_asked_for(wanted):
            self.hide(xid)
        elif self._queue is not None:
            self._wanted[xid] = wanted
            begun_at = wanted.transaction.begun_at
            young = SHOW_AFTER - (self._utc() - begun_at) if begun_at else timedelta()
            self._queue.add_later(xid, min(max(young, timedelta()), SHOW_AFTER).total_seconds())

    def shows_ended(self, xid: Xid, policy: str) -> bool:
        """Whether this transaction of a policy's is shown when it has ended, too."""
        return self._asks(xid, policy) is Projection.ALL

    def hide(self, xid: Xid) -> None:
        """Show a transaction no longer."""
        self._notices.pop(xid, None)
        if self._queue is not None and (xid in self._wanted or self._is_shown(xid)):
            self._wanted[xid] = None
            self._queue.add(xid)

    def note(self, xid: Xid, notice: Notice) -> None:
        """Tell an Event at the transaction once it is shown."""
        if self._wanted.get(xid) is not None and len(self._notices[xid]) < NOTICES_MAX:
            self._notices[xid].append(notice)

    def _is_asked_for(self, wanted: Wanted) -> bool:
        asked_for = self._asks(wanted.transaction.xid, wanted.transaction.policy)
        return asked_for is Projection.ALL or (asked_for is Projection.UNSETTLED and not wanted.ended)

    def _asks(self, xid: Xid, policy: str) -> Projection | None:
        """What a policy asks to be shown; None where nothing may be written."""
        if self._namespaces and xid.namespace not in self._namespaces:
            return None
        return self._policies.projection(xid.namespace, policy)

    def _is_shown(self, xid: Xid) -> bool:
        return self.shown.transaction(xid) is not None

    def _told(self, xid: Xid) -> None:
        """Something was heard of what is shown."""
        if self._queue is None:
            return
        if xid in self._wanted:
            self._queue.add(xid)
            decided = any("resolutions" in each["spec"] for each in self.shown.branches(xid))
            if decided or asked(self.shown.transaction(xid)) is not None:
                self._look_again(xid)
        elif self._knows is not None and not self._knows(xid):
            self.hide(xid)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_SECONDS)
            self._look_at()

    def _look_at(self, namespace: str | None = None) -> None:
        """Compare everything anew, or everything of a namespace."""
        for xid in {*self._wanted, *self.shown.xids()}:
            if namespace in {None, xid.namespace}:
                self._told(xid)

    async def _project(self, xid: Xid) -> None:
        while self._next(xid) is not None:
            await self._bucket.take()
            write = self._next(xid)
            if write is not None:
                await self._carry_out(xid, write)
        await self._tell(xid)
        if self._wanted.get(xid, ...) is None and not self._is_shown(xid):
            del self._wanted[xid]

    def _next(self, xid: Xid) -> Write | None:
        if xid not in self._wanted:
            return None
        wanted = self._wanted[xid]
        if wanted is not None and not self._is_asked_for(wanted):
            wanted = None
        branches = {each["metadata"]["name"]: each for each in self.shown.branches(xid)}
        return next_write(wanted, Shown(self.shown.transaction(xid), branches), self._utc())

    async def _carry_out(self, xid: Xid, write: Write) -> None:
        if write.refuses:
            self._refuse(xid)
        kind = TRANSACTIONS if write.branch is None else BRANCHES
        name = write.branch or xid.name
        try:
            if write.verb is Verb.DELETE:
                await self._delete(xid)
                return
            if write.verb is Verb.CREATE:
                found = await self._create(kind, name, write.body, xid.namespace)
            else:
                sub = "status" if write.verb is Verb.STATUS else None
                found = await self._client.patch(kind, name, write.body, xid.namespace, subresource=sub)
        except NotFoundError:
            if write.verb is Verb.CREATE:  # the namespace is
                raise
            self._drop(xid, write.branch)
        else:
            put = self.shown.put_transaction if write.branch is None else self.shown.put_branch
            put(found)

    async def _create(self, kind: Any, name: str, body: Json, namespace: str) -> Json:
        try:
            return await self._client.create(kind, body, namespace)
        except AlreadyExistsError:
            found = await self._client.get(kind, name, namespace)
            if not is_projected(found):
                raise
            return found

    async def _delete(self, xid: Xid) -> None:
        """Remove the transaction; its branches go with it."""
        there = self.shown.transaction(xid)
        uid = None if there is None else there["metadata"]["uid"]
        await self._client.delete(TRANSACTIONS, xid.name, xid.namespace, uid=uid)
        self.shown.drop_transaction(xid, uid)

    def _drop(self, xid: Xid, branch: str | None) -> None:
        if branch is None:
            self.shown.drop_transaction(xid)
        else:
            self.shown.drop_branch(xid, branch)

    def _refuse(self, xid: Xid) -> None:
        """Somebody has set an outcome when another was taken: say so at what comes in its place."""
        wanted, refused = self._wanted.get(xid), asked(self.shown.transaction(xid))
        stands = wanted and wanted.transaction.decision
        if refused is None or not stands:
            return
        message = f"{refused.outcome} was set here, but {stands.outcome} had been taken, and stands. "
        message += SENTENCES[Reason.ALREADY_DECIDED]
        _log.warning("%s: %s", xid, message)
        self._notices[xid].append(Notice(Weight.WARNING, Reason.ALREADY_DECIDED, message))

    async def _tell(self, xid: Xid) -> None:
        there = self.shown.transaction(xid)
        while there is not None and self._notices.get(xid):
            await self._bucket.take()
            notice = self._notices[xid].pop(0)
            at = there if notice.branch is None else self._branch(xid, notice.branch.name)
            if at is not None:
                await self._recorder.record(notice, at)
        if not self._notices.get(xid):
            self._notices.pop(xid, None)

    def _branch(self, xid: Xid, name: str) -> Json | None:
        return next((each for each in self.shown.branches(xid) if each["metadata"]["name"] == name), None)
