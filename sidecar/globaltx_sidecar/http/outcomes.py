"""What a transaction that a request began ends with, and what its client must be told if that is not so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from globaltx.coordinator.reasons import Reason
from globaltx.transaction.states import Outcome
from globaltx_sidecar.http.answers import Refusal
from globaltx_sidecar.http.initiator import UndecidedError

if TYPE_CHECKING:
    from globaltx.coordinator.policy import Route
    from globaltx_sidecar.http.initiator import Initiated
    from globaltx_sidecar.http.upstream import UpstreamError
    from globaltx_sidecar.metrics import Metrics


class Outcomes:
    """Takes the outcomes of transactions from how their requests ended; ``pod`` is whose word it is."""

    def __init__(self, pod: str, metrics: Metrics) -> None:
        self._pod = pod
        self._metrics = metrics

    async def answered(
        self, initiated: Initiated, asked: str, answer: str, *, commits: bool
    ) -> Refusal | None:
        """The application has answered; return what the client is told instead of the answer, if anything."""
        message = f"{asked} was answered with {answer} by {self._pod}"
        if commits:
            return await self._take(initiated, Outcome.COMMIT, Reason.REQUEST_SUCCEEDED, message)
        return await self._take(initiated, Outcome.ROLLBACK, Reason.REQUEST_FAILED, message)

    async def aborted(self, initiated: Initiated, asked: str, error: UpstreamError) -> Refusal:
        """There was no whole answer; return what the client is told."""
        message = f"{asked} got no whole answer from {self._pod}: {error}"
        refused = await self._take(initiated, Outcome.ROLLBACK, Reason.REQUEST_ABORTED, message)
        if refused is not None:
            return refused
        return Refusal(error.status, error.reason, str(error), initiated.xid, Outcome.ROLLBACK)

    async def _take(
        self, initiated: Initiated, outcome: Outcome, reason: Reason, message: str
    ) -> Refusal | None:
        """Take the outcome; return what the client must be told if it is not the one that stands."""
        xid = initiated.xid
        try:
            with self._metrics.decide_seconds.time():
                standing = await initiated.decide(outcome, reason, message)
        except UndecidedError as error:
            self._metrics.transactions.labels("Unknown", error.reason).inc()
            said = f"{error}; it is rolled back at its deadline unless the outcome was written all the same"
            return Refusal(503, error.reason, said, xid)
        self._metrics.count(self._metrics.transactions, standing.outcome, standing.reason)
        if standing.outcome is outcome:
            return None
        said = f"another outcome was taken before: {standing.outcome} ({standing.reason}) {standing.message}"
        return Refusal(503, standing.reason, said.strip(), xid, standing.outcome)


def late(route: Route) -> str:
    """What is said of an answer that did not come in time."""
    return f"no whole answer within the route's {route.timeout.total_seconds():g} s"
