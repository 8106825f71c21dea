"""Makes one request of many callers' transactions, while others are on their way.

What somebody waits for goes out at once unless a request is under way, and what has gathered meanwhile
goes out together, each as a transaction nested in one. So one caller pays nothing, and a thousand pay a
few requests. ("At once" is when all that came at the same time has had its turn: else the first of a dozen
would fly alone, and the others wait for it.) What nobody waits for has ``patience``: it goes with the next
request that is made anyway, and makes one of its own only when there was none for so long.

One request is under way at a time. With two, less gathers, and etcd and we pay more than anybody is
hastened; and etcd may do first what came last, so that two about one xid could change places.

etcd makes all comparisons of a request before its first operation. Two transactions about one xid must
therefore never be in one request either (a `join` and a `decide` would both find it undecided): the second
keeps its place until the first was answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from globaltx.stores.etcd.errors import EtcdError, EtcdRefusedError
from globaltx.stores.etcd.messages import TXN
from globaltx.stores.etcd.requests import answer_of, together
from globaltx.values import dataclass

if TYPE_CHECKING:
    from globaltx.stores.etcd.asking import Asking
    from globaltx.stores.etcd.client import EtcdClient
    from globaltx.stores.etcd.requests import Answer, Txn
    from globaltx.transaction.xid import Xid

TOGETHER_MAX = 48
"""Of etcd's 128 operations a request; those of a nested transaction count on top of the outer ones."""
BYTES_TOGETHER_MAX = 256 * 1024
"""What one request may hold, unless a single transaction holds more; etcd takes 1.5 MiB."""

TURNS = 2
"""How many turns of the loop the first one waits for what came at the same time by other connections."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    about: Xid
    message: bytes
    answer: asyncio.Future[Answer]
    due: float
    """When it goes out at the latest if nothing is under way, by the loop's clock."""


class Batches:
    """Does transactions for many callers; each may hold at most 64 operations in all, nested ones too."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._waiting: deque[_Waiting] = deque()
        self._flying: list[_Waiting] = []
        self._asking: Asking | None = None
        self._sending: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._departing: asyncio.Handle | None = None

    def txn(self, about: Xid, txn: Txn, patience: float = 0.0) -> asyncio.Future[Answer]:
        """Do one transaction; a caller that is cancelled may have had it done all the same.

        ``patience`` is how long it may wait for another to go with, in seconds.
        """
        return self.send(about, txn.to_bytes(), patience)

    def send(self, about: Xid, message: bytes, patience: float = 0.0) -> asyncio.Future[Answer]:
        """The same of a transaction's message."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(about, message, loop.create_future(), loop.time() + patience)
        self._waiting.append(waiting)
        if not self._flying and self._departing is None:
            self._fly()
        return waiting.answer

    async def close(self) -> None:
        """End what is under way and send nothing more; whoever waits for an answer is cancelled."""
        self._stay()
        for each in self._waiting:
            each.answer.cancel()
        self._waiting.clear()  # before the flight ends, whose landing would send it off
        if self._asking is not None:
            self._asking.cancel()
            self._landed()
        if (sending := self._sending) is not None:
            sending.cancel()
            await asyncio.wait({sending})

    def _fly(self) -> None:
        if not self._waiting or self._flying or self._departing is not None:
            return
        self._stop_alarm()
        loop = asyncio.get_running_loop()
        due = min(each.due for each in islice(self._waiting, TOGETHER_MAX))
        if due > loop.time() and len(self._waiting) < TOGETHER_MAX:
            self._alarm = loop.call_at(due, self._depart)
            return
        self._depart()

    def _depart(self, turns: int = TURNS) -> None:
        """Send what there is a few turns of the loop later: what is ready to run may have more to go with it.

        Time is up for one then, whatever the clock says by now: timers may ring a little early.
        """
        self._stop_alarm()
        if turns:
            self._departing = asyncio.get_running_loop().call_soon(self._depart, turns - 1)
            return
        self._departing = None
        self._flying = batch = self._take()
        if batch:
            self._asking = self._client.at_once(TXN, _message(batch), self._came)
            if self._asking is None:
                self._send_off()

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _stay(self) -> None:
        self._stop_alarm()
        if self._departing is not None:
            self._departing.cancel()
            self._departing = None

    def _came(self, told: bytes | EtcdError) -> None:
        if isinstance(told, EtcdRefusedError):  # nothing of it is done
            self._asking = None
            self._send_off()
            return
        if isinstance(told, EtcdError):
            _fail(self._flying, told)
        else:
            try:
                _give(self._flying, told)
            except Exception as error:  # noqa: BLE001  it is handed to those who wait
                _fail(self._flying, error)
        self._landed()

    def _send_off(self) -> None:
        """Have a task do what takes more than one call over a connection that is there."""
        self._sending = asyncio.create_task(self._send(self._flying), name="etcd batch")
        self._sending.add_done_callback(self._landed)

    def _landed(self, _: object = None) -> None:
        for each in self._flying:
            each.answer.cancel()  # unless it has one: a flight may be cancelled even before it begins
        self._flying = []
        self._asking = self._sending = None
        self._fly()

    def _take(self) -> list[_Waiting]:
        """The next few, at most one about an xid; the others keep their places."""
        taken: list[_Waiting] = []
        about: set[str] = set()  # two of the same name in two namespaces only go one after the other
        left: list[_Waiting] = []
        weight = 0
        while self._waiting and len(taken) < TOGETHER_MAX and weight < BYTES_TOGETHER_MAX:
            each = self._waiting.popleft()
            if each.answer.done():
                continue  # its caller has gone
            weight += len(each.message)
            name = each.about.name
            (left if name in about else taken).append(each)
            about.add(name)
        self._waiting.extendleft(reversed(left))
        return taken

    async def _send(self, batch: list[_Waiting]) -> None:
        if len(batch) > 1:
            try:
                await self._do(batch)
            except EtcdRefusedError:
                pass  # one of them is refused, and the others must not be: each by itself
            except Exception as error:  # noqa: BLE001  it is handed to those who wait
                _fail(batch, error)
                return
            else:
                return
        for each in batch:
            try:
                await self._do([each])
            except Exception as error:  # noqa: BLE001  it is handed to who waits
                _fail([each], error)

    async def _do(self, batch: list[_Waiting]) -> None:
        _give(batch, await self._client.request(TXN, _message(batch)))


def _message(batch: list[_Waiting]) -> bytes:
    return batch[0].message if len(batch) == 1 else together([each.message for each in batch])


def _give(batch: list[_Waiting], told: bytes) -> None:
    answer = answer_of(told)
    answers = [answer] if len(batch) == 1 else answer.nested(len(batch))
    for each, found in zip(batch, answers, strict=True):
        if not each.answer.done():
            each.answer.set_result(found)


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for each in batch:
        if not each.answer.done():
            each.answer.set_exception(error)
