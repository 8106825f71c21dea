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
    from globaltx_sidecar.http.initiator import Initiated
    from globaltx_sidecar.http.outcomes import Outcomes


class Client(Protocol):
    """Who waits for the outcome."""

    def decided(self, refused: Refusal | None) -> None:
        """Give the answer that is held back, or this instead."""


class Transaction:
    """What is known of the answer so far."""

    def __init__(self, route: Route, initiated: Initiated, asked: str, *, grpc: bool) -> None:
        self.initiated = initiated
        self._route = route
        self._asked = asked
        self._grpc = grpc
        self._status = ""
        self._grpc_status: str | None = None
        self._held = 0
        self._answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def holds(self) -> bool:
        """Whether more of the answer is read before its outcome is known."""
        return self._held <= HOLD_BYTES_MAX

    def head(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """The answer has begun."""
        self._status = value_of(pairs, b":status") or ""
        self._grpc_status = value_of(pairs, b"grpc-status")

    def body(self, size: int) -> None:
        """So much more of the answer is held back."""
        self._held += size
        if self.holds:
            return
        if not self._grpc:
            self.ended()
            return
        message = f"a gRPC answer of a route that begins a transaction has at most {HOLD_BYTES_MAX} bytes"
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
