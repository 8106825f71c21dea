"""A unary call of gRPC that begins a transaction and is a branch of it as well."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from globaltx_sidecar.http.outcomes import late
from globaltx_sidecar.http.proxy import contain
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.http2.answers import commits
from globaltx_sidecar.http2.trying import Trying

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route
    from globaltx_sidecar.http.answers import Refusal
    from globaltx_sidecar.http.initiator import Initiated
    from globaltx_sidecar.http.outcomes import Outcomes
    from globaltx_sidecar.http.tries import Answered, Tries
    from globaltx_sidecar.http2.metadata import Request
    from globaltx_sidecar.http2.trying import Client


class First(Trying):
    """One of them, on its way; its own answer decides its transaction, and a repeat begins one of its own."""

    def __init__(self, route: Route, initiated: Initiated, request: Request, asked: str) -> None:
        super().__init__(route, initiated.xid, request)
        self.xid = initiated.xid
        self._initiated = initiated
        self._asked = asked

    async def conduct_all(self, tries: Tries, outcomes: Outcomes, client: Client) -> None:
        """Carry the call from its first byte to its outcome."""
        self._give(await contain(self._decide(tries, outcomes, client)), client)

    async def _decide(self, tries: Tries, outcomes: Outcomes, client: Client) -> Refusal | Answered | None:
        """Take the outcome; return what the client is told instead of the application's answer."""
        try:
            async with asyncio.timeout(self._route.timeout.total_seconds()):
                done = await self._tried(tries, client)
        except UpstreamError as error:
            return await outcomes.aborted(self._initiated, self._asked, error)
        except TimeoutError:
            return await outcomes.aborted(self._initiated, self._asked, UpstreamError(504, late(self._route)))
        commit = done is not None or commits(self._route, self._status, self._grpc_status, grpc=True)
        said = f"grpc-status {self._grpc_status}"
        refused = await outcomes.answered(self._initiated, self._asked, said, commits=commit)
        return done if refused is None else refused
