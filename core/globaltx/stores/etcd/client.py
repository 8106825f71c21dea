"""A small client for etcd: transactions, ranges, watches, with typed errors.

Nothing is repeated in here: an `EtcdUnavailableError` says that a call may or may not have happened,
and only the caller knows whether it may be repeated.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from globaltx.stores.etcd import messages
from globaltx.stores.etcd.requests import KeyValue, Txn, answer_of
from globaltx.stores.etcd.transport import Transport
from globaltx.values import dataclass

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import TracebackType
    from typing import Self

    from globaltx.stores.etcd.access import EtcdAccess
    from globaltx.stores.etcd.asking import Asking
    from globaltx.stores.etcd.errors import EtcdError
    from globaltx.stores.etcd.messages import Changes
    from globaltx.stores.etcd.requests import Answer

REQUEST_TIMEOUT = 5.0
AT_ONCE = 16
PAGE = 1000
SILENCE = 20.0
"""After so long without a message, in seconds, a watch is ended, for its member may be gone."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All keys of a prefix as of one revision; a watch from the next one misses nothing."""

    found: tuple[KeyValue, ...]
    revision: int


class EtcdClient:
    """Requests to one etcd; use it as an async context manager, or `close` it.

    Every call raises the errors of ``globaltx.stores.etcd.errors``.
    """

    def __init__(
        self, access: EtcdAccess, *, timeout: float = REQUEST_TIMEOUT, at_once: int = AT_ONCE
    ) -> None:
        self._transport = Transport(access, timeout, at_once)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        await self._transport.close()

    async def request(self, method: str, message: bytes) -> bytes:
        """One call of etcd's by its service and method (``KV/Txn``); the message that it answers."""
        return await self._transport.request(method, message)

    async def txn(self, txn: Txn) -> Answer:
        """Do one transaction, durable on return; its reads are consistent."""
        return answer_of(await self.request(messages.TXN, txn.to_bytes()))

    def at_once(
        self, method: str, message: bytes, over: Callable[[bytes | EtcdError], None]
    ) -> Asking | None:
        """Begin a call without a task of its own, see `Transport.at_once`."""
        return self._transport.at_once(method, message, over)

    async def list(self, prefix: str) -> Listing:
        """Read all keys of a prefix consistently, page by page, as of one revision.

        Raises:
            CompactedError: that revision went while the pages were read.
        """
        found: list[KeyValue] = []
        start, revision = prefix, 0
        while True:
            asked = messages.page(start, prefix, PAGE, revision)
            page = messages.read_page(await self.request(messages.RANGE, asked))
            revision = revision or page.revision
            found += page.found
            if not page.more or not page.found:
                return Listing(tuple(found), revision)
            start = found[-1].key + "\0"

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
        asked = messages.watch(prefix, revision, deletes=deletes)
        told = self._transport.messages(messages.WATCH, asked, silence, messages.read_changes)
        async with aclosing(told):
            async for each in told:
                if each is not None:
                    yield each
                elif opened is not None:
                    opened()

    async def revision(self) -> int:
        """The present revision."""
        return messages.read_page(await self.request(messages.RANGE, messages.count_none())).revision

    async def compact(self, revision: int) -> None:
        """Throw away the history before that revision.

        Raises:
            CompactedError: somebody has done so already.
        """
        await self.request(messages.COMPACT, messages.compaction(revision))
