"""Carries one plan out, in the order of its fields, and nothing else.

Every write may be repeated. One that meets an object that is gone has nothing to do; one that meets
other finalizers than were seen leaves it to the next pass, which their watch event wakes.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from globaltx.manifest.observed import owner, write_release, write_report, write_stamp, write_status
from globaltx.manifest.resources import branch_to_resource, settlement_status, write_decision
from globaltx.stores.kubernetes.client import PatchKind
from globaltx.stores.kubernetes.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    LeavingError,
    NotFoundError,
)
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.values import replace
from globaltx_operator.cache import bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from globaltx.coordinator.conditions import Status
    from globaltx.coordinator.observed import Notice, Plan, Report, Stamp
    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.stores.kubernetes.resource import Resource
    from globaltx.transaction.model import Branch, BranchId, Decision, Settlement
    from globaltx_operator.cache import Cache
    from globaltx_operator.events import Recorder
    from globaltx_operator.gather import Gathered
    from globaltx_operator.metrics import Metrics

Json = dict[str, Any]

_log = logging.getLogger(__name__)


class CarryOut:
    """Writes for one operator; what the API server answers goes into the cache."""

    def __init__(
        self,
        client: KubernetesClient,
        cache: Cache,
        recorder: Recorder,
        metrics: Metrics,
        utc: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._cache = cache
        self._recorder = recorder
        self._metrics = metrics
        self._utc = utc

    async def carry_out(self, plan: Plan, gathered: Gathered) -> Gathered | None:
        """Do what the plan says; return the resources as they are then, None if the transaction is gone."""
        try:
            return await self._all(plan, gathered)
        except NotFoundError:
            uid = gathered.transaction["metadata"]["uid"] if gathered.transaction else None
            self._cache.drop_transaction(gathered.xid, uid)
            return None

    async def _all(self, plan: Plan, gathered: Gathered) -> Gathered:
        if plan.take is not None:
            gathered = await self._take(plan.take, gathered)
        gathered = await self._register(plan.register, gathered)
        for stamp in plan.stamp:
            await self._stamp(stamp, gathered)
        for notice in plan.notices:
            await self._tell(notice, gathered)
        for report in plan.reports:
            await self._report(report, gathered)
        await self._give_up(plan.give_up, gathered)
        if plan.status is not None:
            gathered = await self._status(plan.status, gathered)
        for branch in plan.release_branches:
            await self._release_branch(branch, gathered)
        if plan.release:
            gathered = await self._release(gathered)
        if plan.forget:
            await self._forget(gathered)
        return gathered

    async def _take(self, decision: Decision, gathered: Gathered) -> Gathered:
        """Set the outcome; the API server refuses when another came first, and that one stands."""
        xid = gathered.xid
        patch = write_decision(decision)
        try:
            found = await self._client.patch(TRANSACTIONS, xid.name, patch, xid.namespace)
        except InvalidError:
            found = await self._client.get(TRANSACTIONS, xid.name, xid.namespace)
            if "outcome" not in found["spec"]:
                raise
        return replace(self._seen(found, gathered), complete=False)

    async def _register(self, branches: Iterable[Branch], gathered: Gathered) -> Gathered:
        """Make the branches that tell somebody the outcome; those that are there stay as they are.

        Nothing waits for them, so one that is refused (by a quota, say) holds nothing else up.
        """
        for branch in branches:
            try:
                await self._make(branch, gathered)
            except LeavingError:
                return replace(gathered, leaving=True)
            except (ForbiddenError, InvalidError) as error:
                _log.warning("%s: nobody can be told the outcome: %s", gathered.xid, error)
        return gathered

    async def _make(self, branch: Branch, gathered: Gathered) -> None:
        assert gathered.transaction is not None  # noqa: S101  an outcome is a transaction's
        body = branch_to_resource(branch)
        body["metadata"]["ownerReferences"] = [owner(gathered.transaction)]
        try:
            found = await self._client.create(BRANCHES, body, gathered.xid.namespace)
        except AlreadyExistsError:
            found = await self._client.get(BRANCHES, branch.id.name, gathered.xid.namespace)
        self._cache.put_branch(found)

    async def _give_up(self, over: Iterable[tuple[BranchId, Settlement]], gathered: Gathered) -> None:
        """End notifications, unless they have ended meanwhile: the API server refuses to leave an end."""
        for branch, settlement in over:
            version = gathered.branch(branch)["metadata"]["resourceVersion"]
            patch = {
                "metadata": {"resourceVersion": version},
                "status": settlement_status(settlement, self._utc()),
            }
            await self._patch_branch(branch, patch, gathered, "status")

    async def _stamp(self, stamp: Stamp, gathered: Gathered) -> None:
        patch = write_stamp(stamp.outcome, gathered.transaction)
        await self._patch_branch(stamp.branch, patch, gathered)

    async def _report(self, report: Report, gathered: Gathered) -> None:
        await self._patch_branch(report.branch, write_report(report, self._utc()), gathered, "status")

    async def _release_branch(self, branch: BranchId, gathered: Gathered) -> None:
        try:
            found = await self._free(BRANCHES, gathered.branch(branch))
        except NotFoundError:
            self._cache.drop_branch(gathered.xid, branch.name)
        else:
            self._cache.put_branch(found)

    async def _free(self, kind: Resource, resource: Json) -> Json:
        """Take our finalizer off.

        Raises:
            ConflictError: the finalizers are not those that were seen.
        """
        metadata = resource["metadata"]
        try:
            return await self._client.patch(
                kind, metadata["name"], write_release(resource), metadata["namespace"], kind=PatchKind.JSON
            )
        except InvalidError as error:
            raise ConflictError(str(error), error.status) from error

    async def _patch_branch(
        self, branch: BranchId, patch: Json, gathered: Gathered, subresource: str | None = None
    ) -> None:
        try:
            found = await self._client.patch(
                BRANCHES, branch.name, patch, gathered.xid.namespace, subresource=subresource
            )
        except NotFoundError:
            self._cache.drop_branch(gathered.xid, branch.name)
        else:
            self._cache.put_branch(found)

    async def _tell(self, notice: Notice, gathered: Gathered) -> None:
        at = gathered.transaction if notice.branch is None else gathered.branch(notice.branch)
        assert at is not None  # noqa: S101  a notice about a transaction comes from one
        await self._recorder.record(notice, at)

    async def _status(self, status: Status, gathered: Gathered) -> Gathered:
        assert gathered.transaction is not None  # noqa: S101  a status is planned for a transaction
        xid = gathered.xid
        before = gathered.observed
        patch = write_status(status, gathered.transaction, self._utc())
        found = await self._client.patch(TRANSACTIONS, xid.name, patch, xid.namespace, subresource="status")
        self._metrics.moved(before, status)
        return self._seen(found, gathered)

    async def _release(self, gathered: Gathered) -> Gathered:
        assert gathered.transaction is not None  # noqa: S101  a release is planned for a transaction
        return self._seen(await self._free(TRANSACTIONS, gathered.transaction), gathered)

    async def _forget(self, gathered: Gathered) -> None:
        """Remove the transaction, whose branches go with it; or branches that outlived theirs."""
        xid = gathered.xid
        if gathered.transaction is not None:
            uid = gathered.transaction["metadata"]["uid"]
            await self._client.delete(TRANSACTIONS, xid.name, xid.namespace, uid=uid)
            self._cache.drop_transaction(xid, uid)
            return
        for each in gathered.branches:
            metadata = each["metadata"]
            await self._client.delete(BRANCHES, metadata["name"], xid.namespace, uid=metadata["uid"])

    def _seen(self, found: Json, gathered: Gathered) -> Gathered:
        self._cache.put_transaction(found)
        return replace(gathered, transaction=bare(found))
