"""The store whose records are the custom resources themselves.

Why no branch is ever missed: `join` makes the Branch durable and *then* reads the transaction
consistently; whoever carries an outcome out sees it durable and *then* lists the branches
consistently. Whichever of the two writes came second, its reader sees the other's. The API
server itself refuses to change an outcome, and to leave an end (rules of the schema), so that
`decide` and `settle` are compare-and-set without reading first.

A branch is never taken back. It may have been found by another process of the same app that
joined it in time, and whose work would then be missed. So `join` reads the transaction before
it creates anything (an xid that does not exist leaves nothing behind), and a branch that still
came too late holds no work: it is stamped and settled like the others.

What a call leaves behind when it fails half-way:

- `begin`: the transaction or nothing. An undecided one without an initiator is rolled back at
  its deadline.
- `join`: nothing, or a branch that holds no work, because the caller was not told that it joined.
- `start`, `complete`: the mark or nothing.
- `decide`: the outcome or nothing.
- `settle`: the end or nothing.
- `forget`: fewer branches, and the transaction as long as any is left.
- `stamp`: some branches stamped.

Each may be repeated, and is, for ``repeat_for`` seconds, when a fault passes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from globaltx.manifest.observed import write_stamp
from globaltx.manifest.projected import NOT_PROJECTED, is_projected
from globaltx.manifest.resources import (
    branch_from_resource,
    completed_status,
    settlement_status,
    started_status,
    transaction_from_resource,
    transaction_to_resource,
    write_decision,
)
from globaltx.modes import saga
from globaltx.stores.base import (
    AlreadyDecidedError,
    StoreRefusedError,
    UnknownTransactionError,
    XidTakenError,
)
from globaltx.stores.kubernetes.errors import AlreadyExistsError, InvalidError, NotFoundError
from globaltx.stores.kubernetes.faults import Patience, as_store_errors
from globaltx.stores.kubernetes.records import Records, branches_in, unsettled
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.stores.kubernetes.watcher import Watcher
from globaltx.transaction.model import Branch, Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.records import TransactionRecord
    from globaltx.stores.kubernetes.watcher import Health
    from globaltx.transaction.calls import Calls
    from globaltx.transaction.model import (
        BranchId,
        Decision,
        GlobalTransaction,
        Mode,
        Settlement,
    )
    from globaltx.transaction.xid import Xid

BEGIN_WAIT = 5.0
REPEAT_FOR = 5.0
NO_CONFLICTS = {"conflictRows": None, "conflicts": None}
"""What a patch of the status takes away, unless the settlement says otherwise."""
_POLL_FIRST, _POLL_MOST = 0.005, 0.1

_log = logging.getLogger(__name__)


class KubernetesStore:
    """The `globaltx.stores.base.Store` of one namespace.

    ``begin_wait`` is how long `join` waits for a transaction whose `begin` is on its way,
    ``repeat_for`` how long any call is repeated on passing faults, both in seconds.
    """

    def __init__(
        self,
        client: KubernetesClient,
        namespace: str,
        *,
        begin_wait: float = BEGIN_WAIT,
        repeat_for: float = REPEAT_FOR,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], datetime] | None = None,
    ) -> None:
        self._client = client
        self._records = Records(client)
        self._namespace = namespace
        self._begin_wait = begin_wait
        self._patience = Patience(repeat_for, clock)
        self._clock = clock
        self._utc = utc or client.utc
        self._watches: dict[str, Health] = {}

    def health(self, app: str) -> Health | None:
        """How the latest watch of this app is doing; None when there was none yet."""
        return self._watches.get(app)

    async def begin(self, transaction: GlobalTransaction) -> None:
        """See `Store.begin`; one write."""
        self._own(transaction.xid)
        await self._patience.with_call(lambda: self._begin(transaction))

    async def join(
        self,
        branch: BranchId,
        mode: Mode,
        calls: Calls | None = None,
        *,
        started: bool = False,  # noqa: ARG002  a status is written by itself
    ) -> Branch:
        """See `Store.join`; a read, a write, a read."""
        self._own(branch.xid)
        return await self._patience.with_call(lambda: self._join(Branch(branch, mode, calls=calls)))

    async def start(self, branch: BranchId) -> None:
        """See `Store.start`; one write, and a read when it is too late."""
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._note(branch, started_status(self._utc()), "start"))

    async def complete(self, branch: BranchId) -> None:
        """See `Store.complete`; a read, a write, and a read more when it is too late.

        Of two steps that are noted side by side both may get the same place.
        """
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._complete(branch))

    async def decide(self, xid: Xid, decision: Decision) -> Decision:
        """See `Store.decide`; one write, and a read when another outcome stands."""
        self._own(xid)
        return await self._patience.with_call(lambda: self._decide(xid, decision))

    async def settle(self, branch: BranchId, settlement: Settlement) -> None:
        """See `Store.settle`; one write.

        Raises:
            StoreRefusedError: the branch was not told this outcome.
        """
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._settle(branch, settlement))

    async def read(self, xid: Xid) -> Snapshot:
        """See `Store.read`; the transaction first, so that a decided one comes with all its branches."""
        return await self._patience.with_call(lambda: self._read(xid))

    async def forget(self, xid: Xid) -> None:
        """See `Store.forget`; the branches first, so that the record outlives them."""
        self._own(xid)
        await self._patience.with_call(lambda: self._forget(xid))

    async def stamp(self, xid: Xid) -> int:
        """Tell the outcome to each branch that was not told yet; return how many those were.

        What `decide` is in other stores; here the operator does it, whenever it sees such a
        branch. Nothing is done for an undecided transaction.
        """
        self._own(xid)
        return await self._patience.with_call(lambda: self._stamp(xid))

    async def watch(self, app: str) -> AsyncGenerator[Branch, None]:
        """See `Store.watch`; the API server sends only what has an outcome and is not settled."""
        watcher = Watcher(
            self._client, BRANCHES, self._namespace, labels=NOT_PROJECTED, fields=unsettled(app)
        )
        self._watches[app] = watcher.health
        async with aclosing(watcher.follow()) as seen:
            async for each in seen:
                for branch in branches_in(each):
                    if branch.id.app == app and branch.outcome is not None and not branch.settled:
                        yield branch

    async def _begin(self, transaction: GlobalTransaction) -> None:
        xid = transaction.xid
        with as_store_errors(f"begin {xid}"):
            try:
                await self._client.create(TRANSACTIONS, transaction_to_resource(transaction), xid.namespace)
            except AlreadyExistsError as error:
                found = await self._records.transaction(xid)
                if found is None or not transaction.same_begin(found.transaction):
                    by = found.transaction.initiator if found else "somebody"
                    message = f"{xid} was begun by {by} already"
                    raise XidTakenError(message) from error

    async def _join(self, branch: Branch) -> Branch:
        xid = branch.id.xid
        with as_store_errors(f"join {xid} as {branch.id.app}/{branch.id.resource}"):
            owner = await self._undecided(xid, self._begin_wait)
            stands = await self._records.add_branch(branch, owner)
            await self._undecided(xid, 0)
            return stands

    async def _complete(self, branch: BranchId) -> None:
        with as_store_errors(f"complete {branch.name}"):
            known = await self._records.branches(branch.xid)
        place = saga.place_of(branch, (each.branch for each in known))
        await self._note(branch, completed_status(place), "complete")

    async def _note(self, branch: BranchId, status: dict[str, Any], what: str) -> None:
        patch = {"status": status}
        at = branch.xid.namespace
        with as_store_errors(f"{what} {branch.name}"):
            try:
                await self._client.patch(BRANCHES, branch.name, patch, at, subresource="status")
            except NotFoundError as error:
                raise UnknownTransactionError(branch.xid) from error
            except InvalidError:
                await self._undecided(branch.xid, 0)
                raise

    async def _undecided(self, xid: Xid, wait: float) -> TransactionRecord:
        """The transaction, read consistently; one that is not there yet is waited for."""
        until, delay = self._clock() + wait, _POLL_FIRST
        while (found := await self._records.transaction(xid)) is None:
            if self._clock() + delay > until:
                raise UnknownTransactionError(xid)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _POLL_MOST)
        if found.transaction.decision is not None:
            raise AlreadyDecidedError(xid, found.transaction.decision)
        return found

    async def _decide(self, xid: Xid, decision: Decision) -> Decision:
        with as_store_errors(f"decide {xid}"):
            try:
                patch = write_decision(decision)
                resource = await self._client.patch(TRANSACTIONS, xid.name, patch, xid.namespace)
            except NotFoundError as error:
                raise UnknownTransactionError(xid) from error
            except InvalidError as error:
                return await self._standing(xid, error)
            if is_projected(resource):  # it shows another store's, which treats this as a person's wish
                raise UnknownTransactionError(xid)
            stands = transaction_from_resource(resource).decision
        if stands is None:
            message = f"the API server dropped the outcome of {xid}: are the resources of crds/ up to date?"
            raise StoreRefusedError(message)
        return stands

    async def _standing(self, xid: Xid, refusal: InvalidError) -> Decision:
        """The decision that made the API server refuse another."""
        found = await self._records.transaction(xid)
        if found is None:
            raise UnknownTransactionError(xid) from refusal
        if found.transaction.decision is None:
            raise refusal
        return found.transaction.decision

    async def _settle(self, branch: BranchId, settlement: Settlement) -> None:
        patch = {"status": NO_CONFLICTS | settlement_status(settlement, self._utc())}
        at = branch.xid.namespace
        with as_store_errors(f"settle {branch.name}"):
            try:
                await self._client.patch(BRANCHES, branch.name, patch, at, subresource="status")
            except NotFoundError:
                _log.info("branch %s was forgotten before it was settled", branch.name)
            except InvalidError:
                found = branch_from_resource(await self._client.get(BRANCHES, branch.name, at))
                if not found.settled:
                    raise

    async def _read(self, xid: Xid) -> Snapshot:
        with as_store_errors(f"read {xid}"):
            found = await self._records.transaction(xid)
            if found is None:
                raise UnknownTransactionError(xid)
            branches = await self._records.branches(xid)
            return Snapshot(found.transaction, tuple(each.branch for each in branches))

    async def _stamp(self, xid: Xid) -> int:
        with as_store_errors(f"stamp {xid}"):
            found = await self._records.transaction(xid)
            if found is None or found.transaction.decision is None:
                return 0
            patch = write_stamp(found.transaction.decision.outcome, found.resource)
            untold = [
                each.branch for each in await self._records.branches(xid) if each.branch.outcome is None
            ]
            for branch in untold:
                try:
                    await self._client.patch(BRANCHES, branch.id.name, patch, xid.namespace)
                except NotFoundError:
                    _log.info("branch %s went before it was stamped", branch.id.name)
            return len(untold)

    async def _forget(self, xid: Xid) -> None:
        with as_store_errors(f"forget {xid}"):
            found = await self._records.transaction(xid)
            branches = await self._records.branches(xid)
            unsettled_count = sum(not each.branch.settled for each in branches)
            if unsettled_count or (found is not None and found.transaction.decision is None):
                message = f"{xid} is not settled: {unsettled_count} of {len(branches)} branches are not"
                raise StoreRefusedError(message)
            for each in branches:
                await self._records.remove(BRANCHES, each.resource)
            if found is not None:
                await self._records.remove(TRANSACTIONS, found.resource)

    def _own(self, xid: Xid) -> None:
        if xid.namespace != self._namespace:
            message = (
                f"{xid} belongs to namespace {xid.namespace}, and this is {self._namespace}: "
                "a transaction and all its branches live in one namespace"
            )
            raise StoreRefusedError(message)
