"""Begins the transactions of this application's routes, and takes their outcome.

`begin` is in flight while the request is already on its way to the application: a branch
cannot be registered before it landed (``join`` insists on that), so nothing is lost by not
waiting. `decide` is the one write that a client waits for.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING

from globaltx.stores.base import StoreError, StoreRefusedError
from globaltx.transaction.model import MESSAGE_LENGTH_MAX, Decision, GlobalTransaction
from globaltx.transaction.xid import RANDOM_BITS, new_xid
from globaltx.values import dataclass
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.insist import insist

if TYPE_CHECKING:
    from datetime import timedelta

    from globaltx.coordinator.policy import Route
    from globaltx.coordinator.reasons import Reason
    from globaltx.stores.base import Store
    from globaltx.transaction.model import Mode
    from globaltx.transaction.notification import Notify
    from globaltx.transaction.states import Outcome
    from globaltx.transaction.xid import Xid

STORE_WAIT_SECONDS = 10.0
"""How long `begin` and `decide` go on trying while the store does not answer."""

_log = logging.getLogger(__name__)


class UndecidedError(Exception):
    """It is not known what became of the transaction; nobody may be told that it succeeded."""

    def __init__(self, xid: Xid, cause: StoreError) -> None:
        super().__init__(f"the outcome of {xid} could not be written: {cause}")
        self.xid = xid
        self.reason = reason_of(cause)


@dataclass(frozen=True, slots=True)
class Origin:
    """Who begins transactions here, as it stands in their resources."""

    namespace: str
    app: str
    pod: str
    policy: str
    ttl: timedelta


class Initiator:
    """Begins transactions; ``tasks`` owns the writes that are in flight."""

    def __init__(
        self,
        store: Store,
        origin: Origin,
        tasks: asyncio.TaskGroup,
        *,
        wait_seconds: float = STORE_WAIT_SECONDS,
    ) -> None:
        self._store = store
        self._tasks = tasks
        self._wait_seconds = wait_seconds
        self.origin = origin

    def begin(self, route: Route, xid: Xid | None = None) -> Initiated:
        """Begin the transaction of a route's request; with an xid that the request itself has named."""
        return self.start(route.timeout, route.mode, xid, route.notify)

    def start(
        self, timeout: timedelta, mode: Mode, named: Xid | None = None, notify: tuple[Notify, ...] = ()
    ) -> Initiated:
        """Begin a transaction, with a new xid unless it has one, without waiting for the store."""
        xid = named or new_xid(
            self.origin.namespace, time.time_ns() // 1_000_000, secrets.randbits(RANDOM_BITS)
        )
        transaction = GlobalTransaction(
            xid=xid,
            initiator=self.origin.app,
            timeout=timeout,
            mode=mode,
            policy=self.origin.policy,
            ttl=self.origin.ttl,
            begun_by=f"{self.origin.pod}/{secrets.token_hex(8)}" if named else "",
            notify=notify,
        )
        begun = self._tasks.create_task(self._begin(transaction), name=f"begin {xid}")
        return Initiated(xid, self, begun)

    async def _begin(self, transaction: GlobalTransaction) -> StoreError | None:
        try:
            await insist(lambda: self._store.begin(transaction), self._wait_seconds)
        except StoreError as error:
            _log.warning("could not begin %s: %s", transaction.xid, error)
            return error
        except Exception as error:  # noqa: BLE001  see below
            # A bug that one transaction found must not end the process of all the others.
            _log.exception("could not begin %s", transaction.xid)
            return StoreRefusedError(repr(error))
        return None

    async def decide(self, xid: Xid, outcome: Outcome, reason: Reason, message: str) -> Decision:
        """Take the outcome and return the one that stands."""
        decision = Decision(outcome, reason, message[:MESSAGE_LENGTH_MAX], by=self.origin.pod)
        return await insist(lambda: self._store.decide(xid, decision), self._wait_seconds)


@dataclass(frozen=True, slots=True)
class Initiated:
    """A transaction whose `begin` is in flight."""

    xid: Xid
    initiator: Initiator
    begun: asyncio.Task[StoreError | None]

    async def decide(self, outcome: Outcome, reason: Reason, message: str) -> Decision:
        """Take the outcome; return the decision that stands, which may be another.

        Raises:
            UndecidedError: it did not begin, or it is not known whether the outcome was taken.
        """
        failed = self.begun.result() if self.begun.done() else await asyncio.shield(self.begun)
        if failed is not None:
            raise UndecidedError(self.xid, failed)
        try:
            return await self.initiator.decide(self.xid, outcome, reason, message)
        except StoreError as error:
            _log.warning("could not decide %s on %s: %s", outcome, self.xid, error)
            raise UndecidedError(self.xid, error) from error
