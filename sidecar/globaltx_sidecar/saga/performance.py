"""One declared saga while it is conducted here: reads how it stands, decides, carries out, waits.

It holds nothing that is not written down, but which calls are under way. So whoever comes after finds
all there is to know, and this may be cut off anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from globaltx.coordinator.egress import refusal
from globaltx.coordinator.reasons import Reason
from globaltx.manifest.declared import problems
from globaltx.modes import declared as mode
from globaltx.modes.declared import CallStep, Decide, MarkPivot, Note, Register, Settle, Tell
from globaltx.modes.guard_row import Guarded
from globaltx.modes.tcc import Operation
from globaltx.stores.base import StoreError, StoreUnavailableError
from globaltx.stores.kubernetes.watcher import Backoff
from globaltx.transaction.declared import Progress, StepState
from globaltx.transaction.model import Decision, Settlement, shorten
from globaltx.transaction.states import Outcome, State
from globaltx_sidecar.http.headers import (
    ATTEMPT_HEADER,
    BRANCH_HEADER,
    GUARD_HEADER,
    KEY_HEADER,
    OPERATION_HEADER,
    SAGA_HEADER,
    STEP_HEADER,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from globaltx.coordinator.policy import Egress
    from globaltx.modes.declared import Answer, Command, Moves
    from globaltx.transaction.xid import Xid
    from globaltx_sidecar.saga.caller import StepCaller
    from globaltx_sidecar.saga.records import Known, SagaRecords

REVIEW_SECONDS = 30.0
"""How soon a saga is looked at again when nothing is heard of it."""
SOON_SECONDS = 0.02
_AGAIN = Backoff(first=0.1, most=10.0)

_log = logging.getLogger(__name__)


class Performance:
    """Conducts one saga; ``calls`` owns the calls that are under way."""

    def __init__(
        self,
        xid: Xid,
        by: str,
        records: SagaRecords,
        caller: StepCaller,
        allowed: Callable[[str], Iterable[Egress]],
        calls: asyncio.TaskGroup,
        utc: Callable[[], datetime],
    ) -> None:
        self.woken = asyncio.Event()
        self._xid = xid
        self._by = by
        self._records = records
        self._caller = caller
        self._allowed = allowed
        self._calls = calls
        self._utc = utc
        self._busy: set[str] = set()
        self._place = 0
        self._outcome: Outcome | None = None

    async def run(self) -> None:
        """Conduct it until there is nothing left to do; faults are told and tried again."""
        failures = 0
        while True:
            self.woken.clear()
            try:
                pause = await self._once()
                failures = 0
            except StoreError as error:
                failures += 1
                pause = _AGAIN.delay(failures, random.random())  # noqa: S311  jitter
                _log.info("saga %s: %s; again in %.1f s", self._xid, error, pause)
            except Exception:  # noqa: BLE001  a bug that one saga found must not end all the others
                failures += 1
                pause = _AGAIN.most
                _log.exception("saga %s", self._xid)
            if pause is not None:
                await self._wait(pause)
            elif not self.woken.is_set():
                return

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.woken.wait()
        except TimeoutError:
            return

    async def _once(self) -> float | None:
        """One look; the seconds until the next, None when all is over."""
        known = await self._records.read(self._xid)
        if known is None:
            return None
        transaction = known.record.transaction
        self._outcome = None if transaction.decision is None else transaction.decision.outcome
        seen = known.seen(frozenset(self._busy))
        self._place = max([self._place, *(seen.progress(name).place for name in seen.branches)])
        if not known.held and transaction.state in {State.ACTIVE, State.COMMITTING}:
            await self._records.hold(known)
            return SOON_SECONDS
        moves = self._refused(known) or mode.decide(seen, self._utc())
        if moves.over and not self._busy:
            return None
        for command in moves.commands:
            await self._carry_out(command, known)
        return self._pause(moves)

    def _refused(self, known: Known) -> Moves | None:
        """Roll back what must not be carried out as it is written; looked at before its first step."""
        transaction = known.record.transaction
        if transaction.decision is not None or len(known.steps) == len(known.plan.steps):
            return None
        found = list(problems(known.plan, self._allowed(transaction.policy)))
        if not found:
            return None
        decision = Decision(Outcome.ROLLBACK, Reason.SAGA_INVALID, shorten("; ".join(found)))
        return mode.Moves((Decide(decision),))

    def _pause(self, moves: Moves) -> float:
        if any(not isinstance(each, CallStep) for each in moves.commands):
            return SOON_SECONDS
        if moves.again_at is None:
            return REVIEW_SECONDS
        return min(REVIEW_SECONDS, max(SOON_SECONDS, (moves.again_at - self._utc()).total_seconds()))

    async def _carry_out(self, command: Command, known: Known) -> None:
        match command:
            case Register(steps):
                await self._records.register(known, steps)
            case MarkPivot():
                await self._records.mark_pivot(self._xid)
            case Decide(decision):
                taken = Decision(decision.outcome, decision.reason, decision.message, self._by)
                await self._records.decide(self._xid, taken)
                await self._records.tell(self._xid)
            case Tell():
                await self._records.tell(self._xid)
            case Note(step, progress):
                await self._records.note(known.steps[step], progress)
            case Settle(step, settlement):
                await self._records.settle(known.steps[step].branch.id, settlement)
                _log.info("saga %s: %s is %s", self._xid, step, settlement.state)
            case CallStep():
                await self._begin(command, known)

    async def _begin(self, command: CallStep, known: Known) -> None:
        """Write a call down, then let it go."""
        record, name = known.steps[command.step.name], command.step.name
        allowed = self._allowed(known.record.transaction.policy)
        problem = refusal(command.exchange.url, allowed, "saga.egress")
        if problem:
            await self._not_allowed(command, known, problem)
            return
        await self._records.note(record, command.progress)
        self._busy.add(name)
        task = self._calls.create_task(self._call(command, known), name=f"{name} of {self._xid}")
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        self._busy.discard(name)
        self.woken.set()

    async def _not_allowed(self, command: CallStep, known: Known, problem: str) -> None:
        record = known.steps[command.step.name]
        before = record.branch
        if self._outcome is None and command.operation is Operation.STEP:
            told = mode.not_called(command.step, before.progress or Progress(), problem, self._utc())
            await self._records.note(record, told)
            if told.state is not StepState.RETRYING:
                self.woken.set()  # the step has failed, and something follows from that
        elif (before.state, before.message) != (State.CONFLICT, shorten(problem)):
            conflict = Settlement(State.CONFLICT, Reason.DESTINATION_NOT_ALLOWED, problem)
            await self._records.settle(before.id, conflict)

    async def _call(self, command: CallStep, known: Known) -> None:
        step, operation = command.step, command.operation
        branch = known.steps[step.name].branch.id
        attempts = mode.attempts_of(command.progress, operation)
        label = f"{branch.name}/{known.uid}"
        headers = {
            SAGA_HEADER: str(self._xid),
            STEP_HEADER: step.name,
            BRANCH_HEADER: label,
            OPERATION_HEADER: str(operation),
            ATTEMPT_HEADER: str(attempts.count),
            KEY_HEADER: f"{label}/{operation}",
        }
        if mode.is_guarded(command.progress):
            # A name may be used again, and guard rows outlive their transaction for a while.
            headers[GUARD_HEADER] = str(Guarded(self._xid, f"{step.name}-{known.uid}", operation))
        answer = await self._caller.call(command.exchange, headers, step.timeout.total_seconds())
        told = answer.problem or f"status {answer.status}"
        _log.info("saga %s: %s %s, call %d: %s", self._xid, operation, step.name, attempts.count, told)

        def answered(stands: Progress) -> Progress | None:
            return self._answered(command, stands, answer)

        await self._insist(lambda: self._records.change(branch, answered))

    def _answered(self, command: CallStep, stands: Progress, answer: Answer) -> Progress | None:
        """What an answer makes of a step's progress; None when that is not ours any more."""
        if mode.attempts_of(stands, command.operation) != mode.attempts_of(
            command.progress, command.operation
        ):
            _log.warning("saga %s: %s was called by somebody else", self._xid, command.step.name)
            return None
        self._place += 1
        return mode.answered(
            command.step,
            stands,
            command.operation,
            answer,
            self._utc(),
            place=self._place,
            outcome=self._outcome,
            chance=random.random(),  # noqa: S311  jitter
        )

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        """Repeat a write until it is durable, or nobody's any more: what came of a call must not be lost."""
        failures = 0
        while True:
            try:
                await write()
            except StoreUnavailableError as error:
                failures += 1
                delay = _AGAIN.delay(failures, random.random())  # noqa: S311  jitter
                _log.info("saga %s: %s; again in %.1f s", self._xid, error, delay)
                await asyncio.sleep(delay)
            except StoreError as error:
                _log.warning("saga %s: an answer could not be noted: %s", self._xid, error)
                return
            else:
                return
