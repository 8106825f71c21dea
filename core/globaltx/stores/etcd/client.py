"""A small client for etcd: transactions, ranges, watches, leases, with typed errors.

Nothing is repeated in here: an `EtcdUnavailableError` says that a call may or may not have happened,
and only the caller knows whether it may be repeated.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from globaltx.stores.etcd.errors import CompactedError, EtcdUnavailableError
from globaltx.stores.etcd.requests import (
    KeyValue,
    Txn,
    answer_of,
    encode,
    key_value,
    key_values,
    prefix_range,
)
from globaltx.stores.etcd.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType
    from typing import Self

    from globaltx.stores.etcd.access import EtcdAccess
    from globaltx.stores.etcd.requests import Answer

Json = dict[str, Any]

REQUEST_TIMEOUT = 5.0
CONNECTIONS = 16
PAGE = 1000
SILENCE = 20.0
"""After so long without a message, in seconds, a watch is ended, for its member may be gone."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys of a prefix as of one revision; a watch from the next one misses nothing."""

    found: tuple[KeyValue, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one key; a deleted one has no value."""

    key_value: KeyValue
    deleted: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What one message of a watch told: everything up to and with ``revision``.

    ``behind`` is by how many revisions the store was ahead of that when it was sent.
    """

    changes: tuple[Change, ...]
    revision: int
    behind: int = 0


class EtcdClient:
    """Requests to one etcd; use it as an async context manager, or `close` it.

    Every call raises the errors of ``globaltx.stores.etcd.errors``.
    """

    def __init__(
        self, access: EtcdAccess, *, timeout: float = REQUEST_TIMEOUT, connections: int = CONNECTIONS
    ) -> None:
        self._transport = Transport(access, timeout, connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        await self._transport.close()

    async def request(self, path: str, body: Json) -> Json:
        """One call of the gateway by its path below ``/v3/``."""
        return await self._transport.request(f"/v3/{path}", body)

    async def txn(self, txn: Txn) -> Answer:
        """Do one transaction, durable on return; its reads are consistent."""
        return answer_of(await self.request("kv/txn", txn.to_json()))

    async def list(self, prefix: str) -> Listing:
        """Read all keys of a prefix consistently, page by page, as of one revision.

        Raises:
            CompactedError: that revision went while the pages were read.
        """
        bounds = prefix_range(prefix)
        found: list[KeyValue] = []
        revision = 0
        while True:
            told = await self.request("kv/range", bounds | {"limit": PAGE, "revision": str(revision)})
            revision = revision or int(told["header"]["revision"])
            found += key_values(told)
            if not told.get("more"):
                return Listing(tuple(found), revision)
            bounds = bounds | {"key": encode(found[-1].key + "\0")}

    async def watch(
        self,
        prefix: str,
        revision: int,
        *,
        silence: float = SILENCE,
        deletes: bool = True,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Changes, None]:
        """Yield what happens to the keys of a prefix from that revision on, until the watch ends.

        Without ``deletes`` etcd sends no word of keys that were deleted. ``opened`` is called once
        etcd has accepted.

        Raises:
            CompactedError: the history since that revision is not kept any more.
        """
        asked = prefix_range(prefix) | {"startRevision": str(revision)}
        body = {"createRequest": asked if deletes else asked | {"filters": ["NODELETE"]}}
        async with aclosing(self._transport.messages("/v3/watch", body, silence)) as messages:
            async for told in messages:
                if told.get("canceled"):
                    raise _ended(told)
                if told.get("created") and opened is not None:
                    opened()
                if told.get("events"):
                    yield _changes(told)

    async def grant(self, seconds: int) -> str:
        """Make a lease that ends by itself unless it is kept alive; its id."""
        told = await self.request("lease/grant", {"TTL": str(seconds)})
        return str(told["ID"])

    async def keep_alive(self, lease: str) -> bool:
        """Let a lease begin anew; whether it was still there."""
        told = await self.request("lease/keepalive", {"ID": lease})
        return int((told.get("result") or {}).get("TTL", 0)) > 0

    async def revoke(self, lease: str) -> None:
        """End a lease and remove the keys that are bound to it."""
        await self.request("lease/revoke", {"ID": lease})

    async def revision(self) -> int:
        """The present revision."""
        told = await self.request("kv/range", {"key": encode("\0"), "countOnly": True})
        return int(told["header"]["revision"])

    async def compact(self, revision: int) -> None:
        """Throw away the history before that revision.

        Raises:
            CompactedError: somebody has done so already.
        """
        await self.request("kv/compaction", {"revision": str(revision)})


def _ended(told: Json) -> CompactedError | EtcdUnavailableError:
    reason = told.get("cancel_reason") or "etcd ended the watch"
    if int(told.get("compact_revision", 0)):
        return CompactedError(f"watch: history was compacted at {told['compact_revision']}: {reason}")
    return EtcdUnavailableError(f"watch: {reason}")


def _changes(told: Json) -> Changes:
    changes = tuple(
        Change(key_value(each["kv"]), deleted=each.get("type") == "DELETE") for each in told["events"]
    )
    revision = max(each.key_value.revision for each in changes)
    return Changes(changes, revision, int(told["header"]["revision"]) - revision)
