"""Makes one request of many callers' transactions, while others are on their way.

What somebody waits for goes out at once unless a request is under way, and what has gathered meanwhile
goes out together, each as a transaction nested in one. So one caller pays nothing, and a thousand pay a
few requests. What nobody waits for has ``patience``: it goes with the next request
that is made anyway, and makes one of its own only when there was none for so long.

etcd makes all comparisons of a request before its first operation. Two transactions about one xid must
therefore never be in one request (a `join` and a `decide` would both find it undecided). Nor is the second
sent before the first was answered, because etcd may do first what came last: each keeps its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from globaltx.stores.etcd.errors import EtcdRefusedError
from globaltx.stores.etcd.requests import all_of
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.stores.etcd.client import EtcdClient
    from globaltx.stores.etcd.requests import Answer, Txn
    from globaltx.transaction.xid import Xid

TOGETHER_MAX = 48
"""Of etcd's 128 operations a request; those of a nested transaction count on top of the outer ones."""
BYTES_TOGETHER_MAX = 256 * 1024
"""What the values of one request may hold, unless a single transaction holds more."""
FLYING_MAX = 1
"""How many are under way; two gather less, and cost etcd and us more than they hasten anybody."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    about: Xid
    txn: Txn
    answer: asyncio.Future[Answer]
    due: float
    """When it goes out at the latest if nothing is under way, by the loop's clock."""


class Batches:
    """Does transactions for many callers; each may hold at most 64 operations in all, nested ones too."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._waiting: deque[_Waiting] = deque()
        self._flying: set[asyncio.Task[None]] = set()
        self._under_way: set[Xid] = set()
        self._alarm: asyncio.TimerHandle | None = None

    async def txn(self, about: Xid, txn: Txn, patience: float = 0.0) -> Answer:
        """Do one transaction; a caller that is cancelled may have had it done all the same.

        ``patience`` is how long it may wait for another to go with, in seconds.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(about, txn, loop.create_future(), loop.time() + patience)
        self._waiting.append(waiting)
        self._fly()
        return await waiting.answer

    async def close(self) -> None:
        """End what is under way; whoever waits for it is cancelled."""
        self._stop_alarm()
        flying = tuple(self._flying)
        for task in flying:
            task.cancel()
        if flying:
            await asyncio.wait(flying)
        for each in self._waiting:
            each.answer.cancel()
        self._waiting.clear()

    def _fly(self) -> None:
        self._stop_alarm()
        if not self._waiting or len(self._flying) >= FLYING_MAX:
            return
        loop = asyncio.get_running_loop()
        due = min(each.due for each in islice(self._waiting, TOGETHER_MAX))
        if due > loop.time() and len(self._waiting) < TOGETHER_MAX:
            self._alarm = loop.call_at(due, self._fly_due)
            return
        self._send_off()

    def _fly_due(self) -> None:
        """Time is up for one, whatever the clock says by now: timers may ring a little early."""
        if self._waiting and len(self._flying) < FLYING_MAX:
            self._send_off()

    def _send_off(self) -> None:
        batch = self._take()
        if not batch:
            return  # each waits for another about its xid, whose landing will take it along
        about = {each.about for each in batch}
        self._under_way |= about
        task = asyncio.create_task(self._send(batch), name="etcd batch")
        self._flying.add(task)
        task.add_done_callback(lambda task: self._landed(task, about))

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _landed(self, task: asyncio.Task[None], about: set[Xid]) -> None:
        self._flying.discard(task)
        self._under_way -= about
        self._fly()

    def _take(self) -> list[_Waiting]:
        """The next few, at most one about an xid; the others keep their places."""
        taken: list[_Waiting] = []
        about = set(self._under_way)
        left: list[_Waiting] = []
        weight = 0
        while self._waiting and len(taken) < TOGETHER_MAX and weight < BYTES_TOGETHER_MAX:
            each = self._waiting.popleft()
            if each.answer.done():
                continue  # its caller has gone
            weight += each.txn.weight
            (left if each.about in about else taken).append(each)
            about.add(each.about)
        self._waiting.extendleft(reversed(left))
        return taken

    async def _send(self, batch: list[_Waiting]) -> None:
        if len(batch) > 1:
            try:
                answers = (await self._client.txn(all_of(each.txn for each in batch))).nested(len(batch))
            except EtcdRefusedError:
                pass  # one of them is refused, and the others must not be: each by itself
            except BaseException as error:
                _fail(batch, error)
                if not isinstance(error, Exception):
                    raise
                return
            else:
                for each, answer in zip(batch, answers, strict=True):
                    _give(each, answer)
                return
        for each in batch:
            try:
                _give(each, await self._client.txn(each.txn))
            except BaseException as error:
                _fail([each], error)
                if not isinstance(error, Exception):
                    _fail(batch, error)
                    raise


def _give(waiting: _Waiting, answer: Answer) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(answer)


def _fail(batch: list[_Waiting], error: BaseException) -> None:
    for each in batch:
        if each.answer.done():
            continue
        if isinstance(error, Exception):
            each.answer.set_exception(error)
        else:
            each.answer.cancel()
