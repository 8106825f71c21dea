"""Puts together what ``decide`` looks at: from the cache, or consistently from the API server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from globaltx.manifest.observed import observe, observe_branch
from globaltx.manifest.projected import is_projected
from globaltx.manifest.resources import LABEL_TRANSACTION
from globaltx.stores.kubernetes.errors import NotFoundError
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.values import replace
from globaltx_operator.cache import bare

if TYPE_CHECKING:
    from globaltx.coordinator.observed import Observed, ObservedBranch
    from globaltx.stores.kubernetes.client import KubernetesClient
    from globaltx.transaction.model import BranchId
    from globaltx.transaction.xid import Xid
    from globaltx_operator.cache import Cache

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gathered:
    """The resources of one xid; ``transaction`` is None when a consistent read found none."""

    xid: Xid
    transaction: Json | None
    branches: tuple[Json, ...]
    complete: bool = False
    leaving: bool = False
    """Something could not be made, because the namespace is being deleted."""

    @property
    def observed(self) -> Observed:
        """What they mean."""
        assert self.transaction is not None  # noqa: S101  the caller has looked
        return observe(self.transaction, self.branches, complete=self.complete, leaving=self.leaving)

    def orphans(self) -> list[ObservedBranch]:
        """What the branches mean when they have no transaction."""
        return [observe_branch(each, "") for each in self.branches]

    def branch(self, branch: BranchId) -> Json:
        """The resource of a branch."""
        return next(each for each in self.branches if each["metadata"]["name"] == branch.name)


class Gatherer:
    """Reads for one operator."""

    def __init__(self, client: KubernetesClient, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def gather(self, xid: Xid) -> Gathered | None:
        """What is known of an xid; None if that is nothing.

        The cache is enough as long as it knows the transaction. Branches without one are looked
        at consistently: nothing may be said of them by hearsay.
        """
        known = self._cache.transaction(xid)
        if known is not None:
            return Gathered(xid, known, tuple(self._cache.branches(xid)))
        if not self._cache.branches(xid):
            return None
        transaction = await self._transaction(xid)
        found = await self.complete(Gathered(xid, transaction, ()))
        return found if transaction is not None or found.branches else None

    async def complete(self, gathered: Gathered) -> Gathered:
        """List all branches consistently, after the transaction was seen as it was gathered."""
        xid = gathered.xid
        listing = await self._client.list(BRANCHES, xid.namespace, labels=f"{LABEL_TRANSACTION}={xid.name}")
        self._cache.replace_branches(xid, listing.items)
        return replace(gathered, branches=tuple(bare(each) for each in listing.items), complete=True)

    async def _transaction(self, xid: Xid) -> Json | None:
        try:
            found = await self._client.get(TRANSACTIONS, xid.name, xid.namespace)
        except NotFoundError:
            return None
        if is_projected(found):
            return None  # it shows what another store keeps
        self._cache.put_transaction(found)
        return bare(found)
