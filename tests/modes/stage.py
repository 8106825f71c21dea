"""Plays golden scenarios of modes that work by calls: commands in, what is asked of the application out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from globaltx.modes import tcc, tcd
from globaltx.modes.tcc import Call, Verdict
from globaltx.transaction.calls import Calls, Reservation
from globaltx.transaction.model import Branch, BranchId, Mode
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Iterator

XID = Xid("shop", "t1")


class Stage:
    """One branch of a mode, and the refusals in a row."""

    def __init__(self, mode: Mode = Mode.TCC) -> None:
        self.mode: Any = {Mode.TCC: tcc, Mode.TCD: tcd}[mode]
        self.branch = Branch(BranchId(XID, "bank", "debit.1"), mode)
        self.refusals = 0

    def play(self, line: str) -> Iterator[str]:
        command, *words = line.split()
        yield from getattr(self, command)(*words)

    def branch_with(self, **more: object) -> None:
        given = {field: getattr(self.branch, field) for field in ("id", "mode", "calls", "started")}
        self.branch = Branch(**(given | more))

    def rules(self, confirm: str, cancel: str, *words: str) -> Iterator[str]:
        """``rules CONFIRM CANCEL [unguarded] [refusals N]``, ``-`` for no path."""
        limit = int(words[-1]) if "refusals" in words else 10
        calls = Calls(
            confirm.strip("-"), cancel.strip("-"), guarded="unguarded" not in words, refusals_max=limit
        )
        self.branch_with(calls=calls, started=False)
        yield from ()

    def reserve(self, seconds: str, margin: str) -> Iterator[str]:
        assert self.branch.calls is not None
        spans = [timedelta(seconds=int(each)) for each in (seconds, margin)]
        reservation = Reservation(spans[0], "/state", spans[1])
        self.branch_with(calls=replace(self.branch.calls, reservation=reservation))
        yield f"to be decided within {reservation.decide_within.total_seconds():g} s"

    def start(self) -> Iterator[str]:
        self.branch_with(started=True)
        yield from ()

    def outcome(self, word: str) -> Iterator[str]:
        self.branch_with(outcome=Outcome(word))
        duty = self.mode.duty(self.branch)
        if isinstance(duty, Call):
            yield f"call {duty.operation} {duty.path}"
        else:
            yield f"{duty.state}: {duty.message}"

    def answer(self, status: str) -> Iterator[str]:
        duty = self.mode.duty(self.branch)
        assert isinstance(duty, Call)
        verdict = tcc.judge(duty.calls, int(status))
        if verdict is Verdict.DONE:
            yield f"{(end := tcc.answered(self.branch, int(status))).state}: {end.message}"
            return
        self.refusals = self.refusals + 1 if verdict is Verdict.REFUSED else 0
        stuck = self.mode.conflict(duty, int(status), self.refusals)
        yield f"{stuck.state}, {stuck.reason}: {stuck.message}" if stuck else f"{verdict}, call again"
