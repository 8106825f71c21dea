"""Registers the branches of this application, once each, for all of its connections.

A registration starts with the first statement of an xid and is awaited only before the local
commit. What was found is kept for a while: that a branch is registered (`KEEP_SECONDS`), and why
one was refused (shortly, so that a client which insists does not turn into load on the store).
That the store did not answer is never kept: the next use tries again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from globaltx.stores.base import StoreError, StoreRefusedError, StoreUnavailableError
from globaltx.transaction.model import BranchId, Mode
from globaltx_sidecar.faults import reason_of
from globaltx_sidecar.insist import insist

if TYPE_CHECKING:
    from globaltx.stores.base import Store
    from globaltx.transaction.model import Decision
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.metrics import Metrics

KEEP_SECONDS = 10.0
"""How long a registration is trusted although the outcome may have been taken since.

A local commit that comes after Rollback meets the fence in the undo table, which stands for an hour.
One that comes after Commit leaves undo records for the sweeper, which must find the transaction still
known to the store: so this is short against the time for which transactions are kept.
"""
KEEP_REFUSED_SECONDS = 1.0
WAIT_SECONDS = 10.0
"""How long one registration, or one look-up of an outcome, goes on while the store does not answer."""
KNOWN_MAX = 16 * 1024
"""How many registrations are remembered; the oldest go first, those in flight stay."""

Key: TypeAlias = "tuple[Xid, str]"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Registration:
    """One registration: in flight, or done and good until ``until`` (loop time)."""

    task: asyncio.Task[StoreError | None]
    until: float = float("inf")


class Registrar:
    """Implements `globaltx_sidecar.ports.Branches`; ``tasks`` owns what is in flight."""

    def __init__(
        self,
        store: Store,
        app: str,
        tasks: asyncio.TaskGroup,
        metrics: Metrics,
        *,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._store = store
        self._app = app
        self._tasks = tasks
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._now = asyncio.get_running_loop().time
        self._known: OrderedDict[Key, _Registration] = OrderedDict()
        """In the order in which they began."""

    def start(self, xid: Xid, resource: str) -> None:
        """Have a branch registered in the background."""
        self._registration(xid, resource)

    def has_joined(self, xid: Xid, resource: str) -> bool:
        """Whether the registration is known to be durable."""
        known = self._known.get((xid, resource))
        return (
            known is not None
            and known.until > self._now()
            and known.task.done()
            and not known.task.cancelled()
            and known.task.result() is None
        )

    async def joined(self, xid: Xid, resource: str) -> None:
        """Return once the branch is durable, or raise why it is not (see `Branches`).

        A registration that began with an earlier statement may have given up meanwhile, so a
        passing fault gets one more attempt.
        """
        registration = self._registration(xid, resource)
        failed = await asyncio.shield(registration.task)
        if isinstance(failed, StoreUnavailableError):
            failed = await asyncio.shield(self._registration(xid, resource).task)
        if failed is not None:
            raise failed

    async def outcome(self, xid: Xid) -> Decision | None:
        """Look up the decision of a transaction; None while undecided."""
        snapshot = await insist(lambda: self._store.read(xid), self._wait_seconds)
        return snapshot.transaction.decision

    def _registration(self, xid: Xid, resource: str) -> _Registration:
        key = (xid, resource)
        known = self._known.get(key)
        if known is not None and known.until > self._now():
            return known
        self._known.pop(key, None)
        self._make_room()
        branch = BranchId(xid, self._app, resource)
        task = self._tasks.create_task(self._join(branch), name=f"join {branch.name}")
        registration = self._known[key] = _Registration(task)
        task.add_done_callback(lambda done: self._done(key, registration, done))
        return registration

    async def _join(self, branch: BranchId) -> StoreError | None:
        try:
            await insist(lambda: self._store.join(branch, Mode.AT), self._wait_seconds)
        except StoreError as error:
            self._metrics.joins.labels(reason_of(error)).inc()
            return error
        except Exception as error:  # noqa: BLE001  see below
            # A bug that one branch found must not end the process of all the others.
            _log.exception("could not register %s", branch.name)
            return StoreRefusedError(repr(error))
        self._metrics.joins.labels("Joined").inc()
        return None

    def _done(self, key: Key, registration: _Registration, task: asyncio.Task[StoreError | None]) -> None:
        failed = StoreUnavailableError("cancelled") if task.cancelled() else task.result()
        if isinstance(failed, StoreUnavailableError):
            if self._known.get(key) is registration:
                del self._known[key]
            return
        registration.until = self._now() + (KEEP_SECONDS if failed is None else KEEP_REFUSED_SECONDS)

    def _make_room(self) -> None:
        now = self._now()
        while self._known and next(iter(self._known.values())).until <= now:
            self._known.popitem(last=False)
        if len(self._known) < KNOWN_MAX:
            return
        done = [key for key, each in self._known.items() if each.task.done()]
        for key in done[: KNOWN_MAX // 8]:
            del self._known[key]
