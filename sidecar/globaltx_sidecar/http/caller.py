"""Confirms and cancels: what the leader asks of the application, by the request that made the branch.

What came by gRPC is asked for by gRPC, everything else by HTTP/1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multidict import CIMultiDict

from globaltx.coordinator.reasons import Reason
from globaltx.modes.guard_row import DONE, Guarded
from globaltx_sidecar.branch.call_desk import CallFailedError
from globaltx_sidecar.http.headers import carry_branch, carry_xid
from globaltx_sidecar.http.upstream import UpstreamError
from globaltx_sidecar.traces import owned

if TYPE_CHECKING:
    from globaltx.modes.guard_row import Finding
    from globaltx.modes.tcc import Call
    from globaltx.transaction.model import BranchId
    from globaltx_sidecar.guards import Guards
    from globaltx_sidecar.http.tries import Tries
    from globaltx_sidecar.http.upstream import Upstream
    from globaltx_sidecar.traces import Traces


class HttpCaller:
    """Implements `globaltx_sidecar.branch.call_desk.Caller` over the application's port on loopback."""

    def __init__(
        self, upstream: Upstream, tries: Tries, guards: Guards, traces: Traces | None = None
    ) -> None:
        self._upstream = upstream
        self._tries = tries
        self._guards = guards
        self._traces = traces

    async def call(self, branch: BranchId, call: Call, attempt: int) -> int | Finding:
        """Make a call; a guarded branch's try that is still under way here is waited for.

        A guard row that says that there is nothing left to do stands above the answer, or none.

        Raises:
            CallFailedError: there was no answer, or it is too early for the call.
        """
        if call.calls.guarded and self._tries.under_way(branch):
            message = f"the try of {branch.name} is still under way; its {call.operation} comes after it"
            raise CallFailedError(message)
        request = call.calls.request
        headers = CIMultiDict(request.headers)
        carry_xid(headers, branch.xid)
        carry_branch(headers, branch, call.operation, attempt)
        # A row of this call says something only where what it takes back has written one by the same way.
        traces = self._traces if call.calls.traced else None
        try:
            with owned(traces, headers, Guarded.of(branch, call.operation)):
                status = await self._send(call, headers)
        except UpstreamError as error:
            finding = self._guards.taken(branch, call.operation)
            if finding in DONE:
                return finding
            raise CallFailedError(str(error), Reason.APPLICATION_UNAVAILABLE) from error
        finding = self._guards.taken(branch, call.operation)
        return finding if finding in DONE else status

    async def _send(self, call: Call, headers: CIMultiDict[str]) -> int:
        """Make the call in the protocol of the request that made the branch; see `tcc` for the number.

        Raises:
            UpstreamError: there is no answer within the time.
        """
        request, seconds = call.calls.request, call.calls.timeout.total_seconds()
        target = f"{call.path}?{request.query}" if request.query else call.path
        if not request.grpc:
            return await self._upstream.call(request.method, target, headers, request.body, seconds)
        return (await self._upstream.call_grpc(target, headers, request.body, seconds)).status
