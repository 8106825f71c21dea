"""The resources of one transaction as the API server holds them: find, add, remove."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from globaltx.manifest.projected import NOT_PROJECTED, is_projected
from globaltx.manifest.resources import (
    FINALIZER,
    LABEL_TRANSACTION,
    InvalidResourceError,
    branch_from_resource,
    branch_to_resource,
    transaction_from_resource,
)
from globaltx.stores.kubernetes.client import EventType, Listing
from globaltx.stores.kubernetes.errors import AlreadyExistsError, NotFoundError
from globaltx.stores.kubernetes.resource import BRANCHES, TRANSACTIONS
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from globaltx.stores.kubernetes.client import KubernetesClient, WatchEvent
    from globaltx.stores.kubernetes.resource import Resource
    from globaltx.stores.kubernetes.transport import Json
    from globaltx.transaction.model import Branch, GlobalTransaction
    from globaltx.transaction.xid import Xid

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A GlobalTransaction, as it was read and what it means."""

    resource: Json
    transaction: GlobalTransaction

    @property
    def owner_reference(self) -> Json:
        """What makes a Branch go when this GlobalTransaction has gone."""
        metadata = self.resource["metadata"]
        return {
            "apiVersion": TRANSACTIONS.api_version,
            "kind": TRANSACTIONS.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """A Branch, as it was read and what it means."""

    resource: Json
    branch: Branch


class Records:
    """Reads and writes single resources; it raises the client's errors."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client

    async def transaction(self, xid: Xid) -> TransactionRecord | None:
        """Read a transaction consistently; None when there is none, or it only shows another store's."""
        try:
            resource = await self._client.get(TRANSACTIONS, xid.name, xid.namespace)
        except NotFoundError:
            return None
        if is_projected(resource):
            return None
        return TransactionRecord(resource, transaction_from_resource(resource))

    async def branches(self, xid: Xid) -> tuple[BranchRecord, ...]:
        """Read all branches of a transaction consistently, in the order of their ids."""
        labels = f"{LABEL_TRANSACTION}={xid.name},{NOT_PROJECTED}"
        listing = await self._client.list(BRANCHES, xid.namespace, labels=labels)
        records = (BranchRecord(each, branch_from_resource(each)) for each in listing.items)
        return tuple(sorted(records, key=lambda record: record.branch.id))

    async def add_branch(self, branch: Branch, owner: TransactionRecord) -> Branch:
        """Make a branch durable; one that is there already stays as it is, and is returned."""
        body = branch_to_resource(branch)
        body["metadata"]["ownerReferences"] = [owner.owner_reference]
        at = branch.id.xid.namespace
        try:
            await self._client.create(BRANCHES, body, at)
        except AlreadyExistsError:  # joined before, or by another process of the app
            if branch.calls is not None:
                return branch_from_resource(await self._client.get(BRANCHES, branch.id.name, at))
        return branch

    async def remove(self, resource: Resource, found: Json) -> None:
        """Remove an object that needs our finalizer no longer, if it is still the version that was found."""
        metadata = found["metadata"]
        name, namespace, version = metadata["name"], metadata["namespace"], metadata["resourceVersion"]
        others = [each for each in metadata.get("finalizers") or () if each != FINALIZER]
        patch = {"metadata": {"finalizers": others, "resourceVersion": version}}
        try:
            freed = await self._client.patch(resource, name, patch, namespace)
            await self._client.delete(
                resource, name, namespace, resource_version=freed["metadata"]["resourceVersion"]
            )
        except NotFoundError:
            _log.debug("%s %s is gone already", resource.kind, name)


def unsettled(app: str) -> str:
    """The field selector for the branches of an app that were told an outcome and have not ended."""
    return f"spec.app={app},spec.outcome!=,status.state!=Committed,status.state!=RolledBack"


def branches_in(seen: Listing | WatchEvent) -> Iterator[Branch]:
    """The branches in what a watcher saw; one that cannot be read does not hide the others.

    One that the selector leaves out from now on comes as DELETED, and as it was before that: it is no news.
    """
    objects: Iterable[Json] = ()
    if isinstance(seen, Listing):
        objects = seen.items
    elif seen.type is not EventType.DELETED:
        objects = (seen.object,)
    for each in objects:
        try:
            yield branch_from_resource(each)
        except InvalidResourceError as error:
            _log.warning("%s", error)
