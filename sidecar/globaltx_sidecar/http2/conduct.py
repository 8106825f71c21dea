"""The transaction that a request begins: its outcome is taken when the answer has come in as a whole.

gRPC says how a call went at the end of the answer (`grpc-status`), so the whole answer is held back. Of a
plain HTTP/2 answer the head says it; as with HTTP/1.1, what lies beyond the first megabyte has no say.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from globaltx.coordinator.reasons import Reason
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.http.outcomes import late
from globaltx_sidecar.http.proxy import HOLD_BYTES_MAX, contain
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.http2.answers import commits
from globaltx_sidecar.http2.metadata import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from globaltx.coordinator.policy import Route
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.http.initiator import Initiated
    from globaltx_sidecar.http.outcomes import Outcomes


class Client(Protocol):
    """Who waits for the outcome."""

    def decided(self, refused: Refusal | None) -> None:
        """Give the answer that is held back, or this instead."""


class Held:
    """An answer that is held back until it is known what it means, and what is known of it so far."""

    xid: Xid | None = None
    """What is put into the answer."""

    def __init__(self, *, grpc: bool) -> None:
        self._grpc = grpc
        self._status = ""
        self._grpc_status: str | None = None
        self._held = 0
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def holds(self) -> bool:
        """Whether more of the answer is read before it is known what it means."""
        return self._held <= HOLD_BYTES_MAX

    def head(self, pairs: Iterable[tuple[bytes, bytes]], *, end: bool) -> None:
        """The answer has begun; ``end`` when that was all of it.

        A grpc-status that something follows is none: to the client such a call has failed.
        """
        self._status = value_of(pairs, b":status") or ""
        self._grpc_status = value_of(pairs, b"grpc-status") if end else None

    def body(self, data: bytes) -> None:
        """A part of the answer is held back."""
        self._held += len(data)
        if self.holds:
            return
        if not self._grpc:
            self.ended()
            return
        message = (
            f"a gRPC answer that is held back until it is whole has at most {HOLD_BYTES_MAX} bytes; "
            "routes that begin transactions or make branches are for unary calls"
        )
        self.lost(UpstreamError(413, message))

    def trailers(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer has ended with these."""
        self._grpc_status = value_of(pairs, b"grpc-status")

    def ended(self) -> None:
        """The answer is there as a whole, or as much of it as counts."""
        if not self._answered.done():
            self._answered.set_result(None)

    def lost(self, error: UpstreamError) -> None:
        """There will be no whole answer; what comes after it has ended does not count."""
        if not self._answered.done():
            self._answered.set_exception(error)


class Transaction(Held):
    """That of a request that begins a transaction."""

    def __init__(self, route: Route, initiated: Initiated, asked: str, *, grpc: bool) -> None:
        super().__init__(grpc=grpc)
        self.initiated = initiated
        self.xid = initiated.xid
        self._route = route
        self._asked = asked

    async def conduct(self, outcomes: Outcomes, client: Client) -> None:
        """Wait for the answer, take the outcome, and let the client have what it means."""
        refused = await contain(self._decide(outcomes))
        if isinstance(refused, Exception):
            refused = Refusal(500, Reason.STORE_REFUSED, repr(refused), self.initiated.xid)
        client.decided(refused)

    async def _decide(self, outcomes: Outcomes) -> Refusal | None:
        try:
            async with asyncio.timeout(self._route.timeout.total_seconds()):
                await self._answered
        except UpstreamError as error:
            return await outcomes.aborted(self.initiated, self._asked, error)
        except TimeoutError:
            return await outcomes.aborted(self.initiated, self._asked, UpstreamError(504, late(self._route)))
        commit = commits(self._route, self._status, self._grpc_status, grpc=self._grpc)
        said = f"grpc-status {self._grpc_status}" if self._grpc else f"status {self._status}"
        return await outcomes.answered(self.initiated, self._asked, said, commits=commit)
