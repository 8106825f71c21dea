"""The resources of declared sagas: read consistently, written only over the version that was read.

A saga is a resource whatever the store of transactions is, because a person has applied it. So are its
branches, one a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.manifest.declared import write_progress
from globaltx.manifest.resources import FINALIZER, branch_from_resource
from globaltx.manifest.times import format_time
from globaltx.modes.declared import Seen
from globaltx.stores.kubernetes.faults import as_store_errors
from globaltx.stores.kubernetes.records import Records
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.stores.kubernetes.store import KubernetesStore
from globaltx.transaction.declared import Progress
from globaltx.transaction.model import Branch, BranchId, Mode
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.records import BranchRecord, TransactionRecord
    from globaltx.transaction.declared import SagaPlan
    from globaltx.transaction.model import Decision, Settlement
    from globaltx.transaction.xid import Xid


@dataclass(frozen=True, slots=True)
class Known:
    """A saga as it was read; ``steps`` are the branches by the names of their steps."""

    record: TransactionRecord
    plan: SagaPlan
    steps: Mapping[str, BranchRecord]

    def seen(self, busy: frozenset[str]) -> Seen:
        """What that means."""
        branches = {name: each.branch for name, each in self.steps.items()}
        return Seen(self.record.transaction, self.plan, branches, busy)

    @property
    def uid(self) -> str:
        """Tells this saga from a later one of the same name."""
        return str(self.record.resource["metadata"]["uid"])

    @property
    def held(self) -> bool:
        """Whether it cannot go before it has settled."""
        return FINALIZER in (self.record.resource["metadata"].get("finalizers") or ())


class SagaRecords:
    """Reads and writes for one app's sagas; every call raises the errors of a store."""

    def __init__(self, client: KubernetesClient, namespace: str, app: str) -> None:
        self._client = client
        self._records = Records(client)
        self._store = KubernetesStore(client, namespace)
        self._app = app
        self._utc = client.utc

    async def read(self, xid: Xid) -> Known | None:
        """Read a saga and its steps, the transaction first; None: there is no such saga of ours."""
        with as_store_errors(f"read {xid}"):
            record = await self._records.transaction(xid)
            if record is None or record.transaction.saga is None or record.transaction.initiator != self._app:
                return None
            branches = await self._records.branches(xid)
        steps = {each.branch.id.resource: each for each in branches if self._is_step(each.branch)}
        return Known(record, record.transaction.saga, steps)

    def _is_step(self, branch: Branch) -> bool:
        return branch.progress is not None and branch.id.app == self._app

    async def _step(self, branch: BranchId) -> tuple[Branch, str]:
        with as_store_errors(f"read {branch.name}"):
            found = await self._client.get(BRANCHES, branch.name, branch.xid.namespace)
            return branch_from_resource(found), str(found["metadata"]["resourceVersion"])

    async def hold(self, known: Known) -> None:
        """See to it that it does not go before it has settled."""
        metadata = known.record.resource["metadata"]
        finalizers = [*(metadata.get("finalizers") or ()), FINALIZER]
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
        with as_store_errors(f"hold {metadata['name']}"):
            await self._client.patch(TRANSACTIONS, metadata["name"], patch, metadata["namespace"])

    async def register(self, known: Known, steps: tuple[str, ...]) -> None:
        """Make the branches of steps; those that are there stay as they are."""
        xid = known.record.transaction.xid
        for step in steps:
            branch = Branch(BranchId(xid, self._app, step), Mode.SAGA, progress=Progress())
            with as_store_errors(f"register {step} of {xid}"):
                await self._records.add_branch(branch, known.record)

    async def mark_pivot(self, xid: Xid) -> None:
        """Set the mark that the pivot is being called; refused once the outcome is taken."""
        with as_store_errors(f"mark the pivot of {xid}"):
            patch = {"spec": {"pivotAt": format_time(self._utc())}}
            await self._client.patch(TRANSACTIONS, xid.name, patch, xid.namespace)

    async def note(self, record: BranchRecord, progress: Progress) -> None:
        """Write down how far a step has come, if nobody has written to its branch since it was read."""
        await self._write(record.branch.id, record.resource["metadata"]["resourceVersion"], progress)

    async def change(self, branch: BranchId, make: Callable[[Progress], Progress | None]) -> None:
        """Read a step's progress and write what is made of it; None: leave it."""
        found, version = await self._step(branch)
        made = make(found.progress or Progress())
        if made is not None:
            await self._write(branch, version, made)

    async def _write(self, branch: BranchId, version: str, progress: Progress) -> None:
        patch = {"metadata": {"resourceVersion": version}, "status": {"step": write_progress(progress)}}
        with as_store_errors(f"note {branch.name}"):
            await self._client.patch(BRANCHES, branch.name, patch, branch.xid.namespace, subresource="status")

    async def decide(self, xid: Xid, decision: Decision) -> None:
        """Take the outcome, unless another was taken."""
        await self._store.decide(xid, decision)

    async def tell(self, xid: Xid) -> None:
        """Tell the outcome to the branches that do not know it."""
        await self._store.stamp(xid)

    async def settle(self, branch: BranchId, settlement: Settlement) -> None:
        """Report how a step ended, or its Conflict."""
        await self._store.settle(branch, settlement)
