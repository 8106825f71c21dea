"""The store whose records are keys of an etcd.

Why no branch is ever missed: `join` puts a branch in a transaction of etcd that holds only while
there is no outcome, and `decide` puts the outcome only while there is none, reading the branches in
the same transaction. etcd does one after the other. The keys are in ``globaltx.stores.etcd.keys``.

What a call leaves behind when it fails half-way. Each is one transaction of etcd but where it says
otherwise, so it has happened as a whole or not at all, and repeating it is safe:

- `begin`: the transaction or nothing.
- `start`, `complete`: the mark or nothing.
- `join`: the branch or nothing. A branch whose caller was not told holds no work; it is carried out
  like the others.
- `decide`: the outcome or nothing. Telling it to the branches is a second step, which the caller
  need not wait for; the operator tells those that were missed (`stamp`).
- `register`: the branch, told, or nothing.
- `stamp`: some branches told, in steps of `STEP`; a repeat tells the rest.
- `settle`: the end or nothing. A conflict is read, then written over what was read only.
- `forget`: read, then one removal of everything: nothing that was settled is ever unsettled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from globaltx.stores.base import (
    AlreadyDecidedError,
    StoreError,
    StoreRefusedError,
    StoreUnavailableError,
    UnknownTransactionError,
    XidTakenError,
)
from globaltx.stores.etcd.access import DEFAULT_PREFIX
from globaltx.stores.etcd.batches import BYTES_TOGETHER_MAX, Batches
from globaltx.stores.etcd.client import Listing
from globaltx.stores.etcd.errors import CompactedError, EtcdError, EtcdUnavailableError
from globaltx.stores.etcd.keys import (
    BRANCH,
    COMPLETED,
    CONFLICT,
    END,
    RESOLUTIONS,
    STARTED,
    InvalidRecordError,
    Keys,
    is_step_let_through,
    read_branch,
    read_decision,
    read_open,
    write_begin,
    write_branch,
    write_decision,
    write_open,
    write_resolutions,
    write_settlement,
)
from globaltx.stores.etcd.record import record_of
from globaltx.stores.etcd.requests import (
    Form,
    Txn,
    absent,
    all_of,
    delete,
    delete_all,
    exists,
    get_all,
    put,
    revision_is,
    value_above,
    value_below,
    value_is,
)
from globaltx.stores.etcd.watcher import Watcher
from globaltx.stores.kubernetes.faults import Patience
from globaltx.transaction.conflict import with_new
from globaltx.transaction.model import Branch, BranchId, Decision
from globaltx.transaction.states import ENDS, Outcome, State
from globaltx.values import replace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

    from globaltx.stores.etcd.client import EtcdClient
    from globaltx.stores.etcd.messages import Changes
    from globaltx.stores.etcd.record import Record
    from globaltx.stores.etcd.requests import Answer, KeyValue
    from globaltx.stores.kubernetes.watcher import Health
    from globaltx.transaction.calls import Calls
    from globaltx.transaction.conflict import Resolution
    from globaltx.transaction.model import (
        GlobalTransaction,
        Mode,
        Settlement,
        Snapshot,
    )
    from globaltx.transaction.xid import Xid

BEGIN_WAIT = 5.0
REPEAT_FOR = 5.0
STEP = 64
"""Branches that are told in one transaction of etcd, which takes 128 operations in all."""
TELL_PATIENCE = 0.005
"""How long a Commit may wait, in seconds, for a request that takes it along to the branches."""
SETTLE_PATIENCE = 0.05
"""The same of an end: the work is done, and nobody waits for its being known."""
_POLL_FIRST, _POLL_MOST = 0.005, 0.1

# Both of the birth, the outcome, and two keys of a branch: joined, started; and joined, what is noted.
_JOIN = Form(there=(0,), absent=(1, 2), put=2)
_NOTE = Form(there=(2,), absent=(1, 3), put=3)  # a repeat changes no revision

Told = tuple[BranchId, str]
"""A branch, and what `keys.read_open` reads of it."""

_log = logging.getLogger(__name__)


def _utc() -> datetime:
    return datetime.now(UTC)


class StoreErrors:
    """Raises, in a ``with``, what time heals as `StoreUnavailableError`, the rest as `StoreRefusedError`.

    What was being done is told by its parts, since mostly nobody asks. (A generator that is made a context
    takes several times as long, in each call of the store.)
    """

    __slots__ = ("_what",)

    def __init__(self, *what: str | Xid | BranchId) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End; an error of etcd's goes on as one of the store."""
        if error is not None and isinstance(error, (EtcdError, InvalidRecordError)):
            what = " ".join(each.name if isinstance(each, BranchId) else str(each) for each in self._what)
            passing = isinstance(error, (EtcdUnavailableError, CompactedError))
            told = f"{what}: {error}"
            raise (StoreUnavailableError if passing else StoreRefusedError)(told) from error


def _steps(txns: list[Txn]) -> Iterator[list[Txn]]:
    """Cut into what one request takes, by number and by bytes."""
    step: list[Txn] = []
    weight = 0
    for each in txns:
        if step and (len(step) == STEP or weight + each.weight > BYTES_TOGETHER_MAX):
            yield step
            step, weight = [], 0
        step.append(each)
        weight += each.weight
    if step:
        yield step


def _unsettled(record: Record, branch: BranchId) -> Branch | None:
    """A branch as the keys of its transaction tell; None if it has ended, or is none."""
    found = record.snapshot()
    if found is None:
        return None
    return next((each for each in found.branches if each.id == branch and not each.settled), None)


def _untold(found: Snapshot) -> list[Told]:
    return [(each.id, write_open(each)) for each in found.branches if not each.settled]


class EtcdStore:
    """The `globaltx.stores.base.Store` of one namespace; without one, of all (the operator's).

    ``begin_wait`` is how long `join` waits for a transaction whose `begin` is on its way,
    ``repeat_for`` how long any call is repeated on passing faults, both in seconds.
    """

    def __init__(
        self,
        client: EtcdClient,
        namespace: str | None,
        *,
        prefix: str = DEFAULT_PREFIX,
        begin_wait: float = BEGIN_WAIT,
        repeat_for: float = REPEAT_FOR,
        clock: Callable[[], float] = time.monotonic,
        utc: Callable[[], datetime] = _utc,
    ) -> None:
        self.keys = Keys(prefix)
        self._client = client
        self._batches = Batches(client)
        self._namespace = namespace
        self._begin_wait = begin_wait
        self._patience = Patience(repeat_for, clock)
        self._clock = clock
        self._utc = utc
        self._telling: set[asyncio.Task[None]] = set()
        self._watches: dict[str, Health] = {}

    async def close(self, grace: float = 0) -> None:
        """End what is under way in the background, after ``grace`` seconds at most.

        Branches may be left for the operator to tell.
        """
        telling = tuple(self._telling)
        if telling:
            _, late = await asyncio.wait(telling, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.wait(telling)
        await self._batches.close()

    def health(self, app: str) -> Health | None:
        """How the latest watch of this app is doing; None when there was none yet."""
        return self._watches.get(app)

    async def begin(self, transaction: GlobalTransaction) -> None:
        """See `Store.begin`; one request. Its birth is told by our own clock: etcd has none."""
        self._own(transaction.xid)
        born = self._utc()
        await self._patience.with_call(lambda: self._begin(transaction, born))

    async def join(
        self, branch: BranchId, mode: Mode, calls: Calls | None = None, *, started: bool = False
    ) -> Branch:
        """See `Store.join`; one request."""
        self._own(branch.xid)
        return await self._patience.with_call(
            lambda: self._join(Branch(branch, mode, calls=calls, started=started))
        )

    async def start(self, branch: BranchId) -> None:
        """See `Store.start`; one request."""
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._note(branch, STARTED))

    async def complete(self, branch: BranchId) -> None:
        """See `Store.complete`; one request: its revision is the place."""
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._note(branch, COMPLETED))

    async def decide(self, xid: Xid, decision: Decision) -> Decision:
        """See `Store.decide`; one request, and those that tell the branches are not waited for."""
        self._own(xid)
        stands, untold = await self._patience.with_call(lambda: self._decide(xid, decision))
        if untold:
            task = asyncio.create_task(self._tell_quietly(untold, stands.outcome), name=f"tell {xid}")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return stands

    async def stamp(self, xid: Xid) -> int:
        """Tell the outcome to each branch that has not ended; return how many those were.

        What follows each `decide` anyway; the operator does it where that was lost.
        """
        self._own(xid)
        return await self._patience.with_call(lambda: self._stamp(xid))

    async def register(self, branch: Branch) -> None:
        """Make a branch of a transaction whose outcome is taken: a notification, which the outcome made.

        Durable on return, and told to its app in the same step; one that is there stays as it is.
        """
        self._own(branch.id.xid)
        await self._patience.with_call(lambda: self._register(branch))

    async def settle(self, branch: BranchId, settlement: Settlement) -> None:
        """See `Store.settle`; one request, shared with others that settle at the time.

        Raises:
            StoreRefusedError: the outcome is another, or was not taken.
        """
        self._own(branch.xid)
        settle = self._settle if settlement.state in ENDS else self._contest
        await self._patience.with_call(lambda: settle(branch, settlement))

    async def resolve(self, branch: BranchId, resolutions: Sequence[Resolution]) -> None:
        """Add what people have decided about a branch in Conflict, and let its app hear of it.

        A decision that is known is not added again, nor anything where there is no conflict (any more).
        """
        self._own(branch.xid)
        await self._patience.with_call(lambda: self._resolve(branch, resolutions))

    async def read(self, xid: Xid) -> Snapshot:
        """See `Store.read`; one request, as of one revision."""
        return await self._patience.with_call(lambda: self._read(xid))

    async def forget(self, xid: Xid) -> None:
        """See `Store.forget`; two requests, shared with others."""
        self._own(xid)
        await self._patience.with_call(lambda: self._forget(xid))

    async def remove(self, xid: Xid, decided_in: int) -> None:
        """The same of what the caller knows to be settled, which it stays; one request.

        ``decided_in`` is the revision of its outcome (`Record.decided_in`): a name may be begun anew once it
        was forgotten, by somebody else or by an attempt whose answer was lost.
        """
        self._own(xid)
        await self._patience.with_call(lambda: self._remove(xid, decided_in))

    async def watch(self, app: str) -> AsyncGenerator[Branch, None]:
        """See `Store.watch`; etcd sends only what the app has to do."""
        watcher = Watcher(self._client, self.keys.opened_by(self._whose(), app), deletes=False)
        self._watches[app] = watcher.health
        async with aclosing(watcher.follow()) as seen:
            async for each in seen:
                for branch in self._opened(each):
                    yield branch

    def _opened(self, seen: Listing | Changes) -> Iterator[Branch]:
        """The open branches; one that cannot be read does not hide the others."""
        found: Iterable[KeyValue] = (
            seen.found
            if isinstance(seen, Listing)
            else (each.key_value for each in seen.changes if not each.deleted)
        )
        for each in found:
            try:
                yield read_open(self.keys, each)
            except InvalidRecordError as error:
                _log.warning("%s", error)

    async def _begin(self, transaction: GlobalTransaction, born: datetime) -> None:
        xid = transaction.xid
        key, everything = self.keys.begin(xid), get_all(self.keys.transaction(xid))
        txn = Txn((absent(key),), (put(key, write_begin(transaction, born)),), (everything,))
        with StoreErrors("begin", xid):
            answer = await self._batches.txn(xid, txn)
            if answer.succeeded:
                return
            found = record_of(self.keys, xid, answer.found(0)).snapshot()
        if found is None or not transaction.same_begin(found.transaction):
            by = found.transaction.initiator if found else "somebody"
            message = f"{xid} was begun by {by} already"
            raise XidTakenError(message)

    async def _join(self, branch: Branch) -> Branch:
        xid = branch.id.xid
        message = _JOIN.to_bytes(self.keys.undecided(branch.id, BRANCH, STARTED), write_branch(branch))
        until, delay = self._clock() + self._begin_wait, _POLL_FIRST
        with StoreErrors("join", branch.id):
            while not (answer := await self._batches.send(xid, message)).succeeded:
                if self._is_open(xid, answer) and (there := answer.found(2)):
                    stands = read_branch(branch.id, there[0].value)
                    return replace(stands, started=stands.started or bool(answer.found(3)))
                if self._clock() + delay > until:
                    raise UnknownTransactionError(xid)
                await asyncio.sleep(delay)
                delay = min(delay * 2, _POLL_MOST)
        return branch

    async def _register(self, branch: Branch) -> None:
        key = self.keys.of_branch(branch.id, BRANCH)
        made = (put(key, write_branch(branch)), put(self.keys.open(branch.id), write_open(branch)))
        txn = Txn((exists(self.keys.decision(branch.id.xid)), absent(key)), made)
        with StoreErrors("register", branch.id):
            await self._batches.txn(branch.id.xid, txn)

    async def _note(self, branch: BranchId, what: str) -> None:
        xid = branch.xid
        message = _NOTE.to_bytes(self.keys.undecided(branch, BRANCH, what), "")
        with StoreErrors("note", what, branch):
            answer = await self._batches.send(xid, message)
            if not (answer.succeeded or (self._is_open(xid, answer) and answer.found(2) and answer.found(3))):
                raise UnknownTransactionError(xid)

    def _is_open(self, xid: Xid, answer: Answer) -> bool:
        """Whether a transaction, whose birth and outcome were read first, was begun.

        Raises:
            AlreadyDecidedError: its outcome is taken.
        """
        begun, decided = answer.found(0), answer.found(1)
        if begun and decided:
            raise AlreadyDecidedError(xid, read_decision(xid, decided[0].value))
        return bool(begun)

    async def _decide(self, xid: Xid, decision: Decision) -> tuple[Decision, list[Told]]:
        at, key = self.keys.transaction(xid), self.keys.decision(xid)
        stands = Decision(decision.outcome, decision.reason, decision.message, decision.by, self._utc())
        written = write_decision(stands)
        # No branch has ended yet. In which order the steps were done is nothing to a Commit.
        kinds = (BRANCH, STARTED) if stands.outcome is Outcome.COMMIT else (BRANCH, STARTED, COMPLETED)
        txn = Txn(
            (exists(self.keys.begin(xid)), absent(key)),
            (put(key, written), *(get_all(f"{at}{each}/") for each in kinds)),
            (get_all(at),),
        )
        with StoreErrors("decide", xid):
            answer = await self._batches.txn(xid, txn)
            if answer.succeeded:
                branches = answer.found(1)
                if stands.outcome is Outcome.COMMIT and all(
                    is_step_let_through(each.value) for each in branches
                ):
                    return stands, []
                rest = (each for number in range(1, len(kinds)) for each in answer.found(number + 1))
                record = record_of(self.keys, xid, [*branches, *rest])
                record.decision = written
                return stands, record.untold()
            snapshot = self._known(xid, record_of(self.keys, xid, answer.found(0)))
        if snapshot.transaction.decision is None:
            # An attempt whose answer was lost, or a rival, has been and gone: the next one will tell.
            message = f"decide {xid}: it was being decided"
            raise StoreUnavailableError(message)
        return snapshot.transaction.decision, _untold(snapshot)

    async def _tell_quietly(self, branches: list[Told], outcome: Outcome) -> None:
        try:
            await self._patience.with_call(lambda: self._tell(branches, outcome))
        except StoreError as error:
            _log.warning("the operator has to tell the branches: %s", error)

    async def _tell(self, branches: list[Told], outcome: Outcome) -> None:
        xid = branches[0][0].xid
        patience = TELL_PATIENCE if outcome is Outcome.COMMIT else 0.0
        with StoreErrors("tell the branches of", xid):
            for step in _steps([self._telling_of(*each) for each in branches]):
                await self._batches.txn(xid, all_of(step), patience)

    def _telling_of(self, branch: BranchId, told: str) -> Txn:
        key = self.keys.open(branch)
        there, ended = self.keys.each_of_branch(branch, BRANCH, END)
        return Txn((exists(there), absent(ended), absent(key)), (put(key, told),))

    async def _stamp(self, xid: Xid) -> int:
        with StoreErrors("stamp", xid):
            found = (await self._record(xid)).snapshot()
        if found is None or found.transaction.decision is None:
            return 0
        untold = _untold(found)
        if untold:
            await self._tell(untold, found.transaction.decision.outcome)
        return len(untold)

    async def _settle(self, branch: BranchId, settlement: Settlement) -> None:
        there, end, conflict = self.keys.each_of_branch(branch, BRANCH, END, CONFLICT)
        done = put(end, write_settlement(settlement))
        over = (delete(self.keys.open(branch)), delete(conflict))
        compare = (exists(there), absent(end), self._outcome_is(branch.xid, settlement.state))
        txn = Txn(compare, (done, *over), (get_all(self.keys.transaction(branch.xid)),))
        with StoreErrors("settle", branch):
            answer = await self._batches.txn(branch.xid, txn, SETTLE_PATIENCE)
            if answer.succeeded:
                return
            found = record_of(self.keys, branch.xid, answer.found(0))
            self._explain(branch, settlement, found)

    def _outcome_is(self, xid: Xid, end: State) -> bytes:
        """Holds when the outcome that was taken leads to this end."""
        key = self.keys.decision(xid)
        if end is State.COMMITTED:
            return value_below(key, f"{Outcome.COMMIT}~")
        return value_above(key, f"{Outcome.ROLLBACK}")

    def _explain(self, branch: BranchId, settlement: Settlement, found: Record) -> None:
        """Why a branch could not be settled: it is gone, it has ended, or the outcome is another."""
        of = (branch.app, branch.resource)
        if of not in found.branches:
            _log.info("branch %s was forgotten before it was settled", branch.name)
        elif not found.ended(of):
            outcome = found.outcome or "not taken"
            message = f"{branch.name} cannot be {settlement.state}: its outcome is {outcome}"
            raise StoreRefusedError(message)

    async def _contest(self, branch: BranchId, settlement: Settlement) -> None:
        with StoreErrors("settle", branch):
            record = await self._record(branch.xid)
            mine = _unsettled(record, branch)
            if mine is None:
                return
            told = replace(
                mine,
                state=settlement.state,
                reason=settlement.reason,
                message=settlement.message,
                carried_out=settlement.carried_out or mine.carried_out,
                attempts=settlement.attempts,
            )
            puts = [put(self.keys.of_branch(branch, CONFLICT), write_settlement(settlement))]
            if told.outcome is not None:
                puts.append(put(self.keys.open(branch), write_open(told)))
            await self._over_what_was_read(record, branch, puts)

    async def _resolve(self, branch: BranchId, resolutions: Sequence[Resolution]) -> None:
        with StoreErrors("resolve", branch):
            record = await self._record(branch.xid)
            mine = _unsettled(record, branch)
            if mine is None or mine.state is not State.CONFLICT:
                return
            told = replace(mine, resolutions=with_new(mine.resolutions, resolutions))
            if told != mine:
                decided = put(self.keys.of_branch(branch, RESOLUTIONS), write_resolutions(told.resolutions))
                await self._over_what_was_read(
                    record, branch, [decided, put(self.keys.open(branch), write_open(told))]
                )

    async def _over_what_was_read(self, record: Record, branch: BranchId, puts: list[bytes]) -> None:
        """Write if neither conflict nor decisions have changed since.

        Raises:
            EtcdUnavailableError: they have; repeat the call.
        """
        of = (branch.app, branch.resource)
        there, end, conflict, decided = self.keys.each_of_branch(branch, BRANCH, END, CONFLICT, RESOLUTIONS)
        compare = (
            exists(there),
            absent(end),
            value_is(conflict, record.conflicts.get(of)),
            value_is(decided, record.resolutions.get(of)),
        )
        if not (await self._batches.txn(branch.xid, Txn(compare, tuple(puts)))).succeeded:
            message = "the branch has changed meanwhile"
            raise EtcdUnavailableError(message)

    async def _read(self, xid: Xid) -> Snapshot:
        with StoreErrors("read", xid):
            return self._known(xid, await self._record(xid))

    async def _record(self, xid: Xid) -> Record:
        answer = await self._batches.txn(xid, Txn(success=(get_all(self.keys.transaction(xid)),)))
        return record_of(self.keys, xid, answer.found(0))

    def _known(self, xid: Xid, record: Record) -> Snapshot:
        found = record.snapshot()
        if found is None:
            raise UnknownTransactionError(xid)
        return found

    async def _forget(self, xid: Xid) -> None:
        with StoreErrors("forget", xid):
            found = await self._record(xid)
            if found.empty:
                return
            if found.decision is None or found.unsettled:
                message = f"{xid} is not settled: {found.unsettled} of {len(found.branches)} branches are not"
                raise StoreRefusedError(message)
        await self._remove(xid, found.decided_in)

    async def _remove(self, xid: Xid, decided_in: int) -> None:
        that = revision_is(self.keys.decision(xid), decided_in)
        gone = Txn((that,), (delete_all(self.keys.transaction(xid)),))
        with StoreErrors("forget", xid):
            await self._batches.txn(xid, gone)

    def _whose(self) -> str:
        if self._namespace is None:
            message = "a watch is of one namespace's app"
            raise RuntimeError(message)
        return self._namespace

    def _own(self, xid: Xid) -> None:
        if self._namespace not in {None, xid.namespace}:
            message = (
                f"{xid} belongs to namespace {xid.namespace}, and this is {self._namespace}: "
                "a transaction and all its branches live in one namespace"
            )
            raise StoreRefusedError(message)
