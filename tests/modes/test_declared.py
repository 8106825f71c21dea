"""Golden scenarios of declared sagas: ``tests/scenarios/declared/*.txt``.

A block tells of steps and of what happens, and after ``----`` stands what is done about it: everything is
carried out at once, but the calls, whose answers are told. ``REWRITE=1 pytest tests/modes`` writes the
reactions anew: review the diff.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.reasons import Reason
from globaltx.modes import declared as mode
from globaltx.modes.declared import Answer, CallStep, Decide, MarkPivot, Note, Register, Seen, Settle, Tell
from globaltx.modes.tcc import Operation
from globaltx.transaction.conflict import Remedy, Resolution
from globaltx.transaction.declared import Exchange, Progress, Recovery, Retry, SagaPlan, StepPlan, StepState
from globaltx.transaction.model import Branch, BranchId, Decision, GlobalTransaction, Mode
from globaltx.transaction.states import ENDS, Outcome
from tests.golden import check
from tests.modes.stage import XID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from globaltx.modes.declared import Command

FOLDER = Path(__file__).parent.parent / "scenarios" / "declared"
FILES = sorted(FOLDER.glob("*.txt"))
BEGUN = datetime(2025, 1, 1, tzinfo=UTC)
ROUNDS_MAX = 100


class World:
    """One saga, the store that it is written to, and whoever conducts it."""

    def __init__(self, plan: SagaPlan | None = None) -> None:
        self.plan = plan or SagaPlan(())
        self.transaction = GlobalTransaction(XID, "trip", timedelta(hours=1), Mode.SAGA, begun_at=BEGUN)
        self.branches: dict[str, Branch] = {}
        self.calls: dict[str, CallStep] = {}
        self.now = BEGUN
        self.done_calls: list[str] = []
        self.chance = 1.0

    def conduct(self) -> Iterator[str]:
        """Carry out what is to be done, until that is to wait."""
        for _ in range(ROUNDS_MAX):
            seen = Seen(self.transaction, self.plan, dict(self.branches), frozenset(self.calls))
            moves = mode.decide(seen, self.now)
            for command in moves.commands:
                yield from self.carry_out(command)
            if not moves.commands:
                self.again_at, self.over = moves.again_at, moves.over
                return
        pytest.fail("there is no end of commands")

    def carry_out(self, command: Command) -> Iterator[str]:
        match command:
            case Register(steps):
                for name in steps:
                    self.branches[name] = Branch(BranchId(XID, "trip", name), Mode.SAGA, progress=Progress())
                yield f"register {', '.join(steps)}"
            case MarkPivot():
                self.transaction = replace(self.transaction, pivoting=True)
                yield "mark the pivot"
            case Decide(decision):
                self.transaction = replace(self.transaction, decision=decision)
                yield f"decide {decision.outcome}, {decision.reason} {decision.message}".rstrip()
            case Tell():
                assert self.transaction.decision is not None
                outcome = self.transaction.decision.outcome
                self.branches = {name: replace(each, outcome=outcome) for name, each in self.branches.items()}
            case Note(step, progress):
                self.branches[step] = replace(self.branches[step], progress=progress)
                yield f"note {step}: {progress.state}: {progress.step.problem}"
            case Settle(step, settlement):
                assert not self.branches[step].settled, f"{step} has ended before"
                self.branches[step] = replace(
                    self.branches[step],
                    state=settlement.state,
                    message=settlement.message,
                    carried_out=settlement.carried_out,
                )
                yield f"{step} is {settlement.state}: {settlement.message}"
            case CallStep(step, operation, exchange, progress):
                before = self.progress(step.name)
                assert step.name not in self.calls, "a call beside another"
                assert operation is not Operation.STEP or before.state is not StepState.DONE, "done before"
                self.branches[step.name] = replace(self.branches[step.name], progress=progress)
                self.calls[step.name] = command
                told = f" {exchange.body}" if exchange.body else ""
                yield f"call {operation} {step.name} ({mode.attempts_of(progress, operation).count}){told}"

    def progress(self, name: str) -> Progress:
        return self.branches[name].progress or Progress()

    def answered(self, name: str, answer: Answer) -> None:
        command = self.calls.pop(name)
        place = max(self.progress(each).place for each in self.branches) + 1
        decision = self.transaction.decision
        made = mode.answered(
            command.step,
            self.progress(name),
            command.operation,
            answer,
            self.now,
            place=place,
            outcome=None if decision is None else decision.outcome,
            chance=self.chance,
        )
        self.branches[name] = replace(self.branches[name], progress=made)

    def take(self, outcome: Outcome, reason: str) -> None:
        if self.transaction.decision is None:
            self.transaction = replace(self.transaction, decision=Decision(outcome, reason))


class Saga(World):
    """A world by commands."""

    def play(self, line: str) -> Iterator[str]:
        command, *words = line.split()
        yield from getattr(self, command)(*words)

    def step(self, name: str, *words: str) -> Iterator[str]:
        """``step NAME [after A,B] [attempts N] [uses STEP] [pivot] [plain]``."""
        options = dict(pairwise(words))
        uses = f'{{"id": "{{{{ steps.{options["uses"]}.body.id }}}}"}}' if "uses" in options else ""
        own = f'{{"id": "{{{{ steps.{name}.body.id }}}}"}}' if "own" in words else ""
        step = StepPlan(
            name,
            Exchange(f"http://{name}/", body=uses),
            None if {"pivot", "plain"} & set(words) else Exchange(f"http://{name}/cancel", body=own),
            tuple(filter(None, options.get("after", "").split(","))),
            Retry(int(options.get("attempts", 3))),
            refusals_max=2,
            pivot="pivot" in words,
        )
        self.plan = replace(self.plan, steps=(*self.plan.steps, step))
        yield from ()

    def forward(self) -> Iterator[str]:
        self.plan = replace(self.plan, recovery=Recovery.FORWARD)
        yield from ()

    def look(self) -> Iterator[str]:
        yield from self.conduct()

    def answer(self, name: str, status: str, result: str = "") -> Iterator[str]:
        self.answered(name, Answer(int(status), result))
        yield from self.conduct()

    def silent(self, name: str) -> Iterator[str]:
        self.answered(name, Answer(problem="no answer within 10 s"))
        yield from self.conduct()

    def crash(self) -> Iterator[str]:
        """Whoever conducts it is gone, and with them what their calls are answered with."""
        self.calls.clear()
        yield from self.conduct()

    def later(self, seconds: str) -> Iterator[str]:
        self.now += timedelta(seconds=int(seconds))
        yield from self.conduct()

    def outcome(self, word: str) -> Iterator[str]:
        self.take(Outcome(word), Reason.DEADLINE_EXCEEDED)
        yield from self.conduct()

    def keep(self, name: str) -> Iterator[str]:
        made = Resolution(1, Remedy.KEEP, "seen to it", "kim")
        self.branches[name] = replace(self.branches[name], resolutions=(made,))
        yield from self.conduct()

    def retry(self, name: str) -> Iterator[str]:
        made = Resolution(1, Remedy.RETRY, "again", "kim")
        self.branches[name] = replace(self.branches[name], resolutions=(made,))
        yield from self.conduct()


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    check(file, Saga())


def test_the_mode_s_words_are_reasons() -> None:
    words = (
        mode.SAGA_COMPLETED,
        mode.SAGA_FORWARD,
        mode.STEP_FAILED,
        mode.STEP_UNKNOWN,
        mode.TEMPLATE_FAILED,
    )
    assert [Reason(each) for each in words]


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_a_pause_grows_and_is_at_random_between_its_half_and_all_of_it(attempt: int, chance: float) -> None:
    retry = Retry(first=timedelta(seconds=2), most=timedelta(seconds=60))
    whole = min(timedelta(seconds=60), timedelta(seconds=2) * 2 ** min(attempt - 1, 10))
    assert whole / 2 <= retry.after(attempt, chance) <= whole


@pytest.mark.parametrize("operation", [Operation.STEP, Operation.COMPENSATE])
def test_steps_that_failed_together_do_not_come_back_together(operation: Operation) -> None:
    step = StepPlan(
        "a", Exchange("http://x/"), Exchange("http://x/c"), retry=Retry(first=timedelta(seconds=8))
    )
    progress = mode.called(step, Progress(), operation, BEGUN)
    due = [
        mode.attempts_of(
            mode.answered(
                *(step, progress, operation, Answer(503), BEGUN), place=1, outcome=None, chance=chance
            ),
            operation,
        ).next_at
        for chance in (0.0, 0.5)
    ]
    assert due == [BEGUN + timedelta(seconds=each) for each in (4, 6)]


def test_a_step_is_guarded_only_if_all_of_its_calls_were() -> None:
    """Whoever conducted it before may have known no guards: a compensation with one would find no row."""
    step = StepPlan("a", Exchange("http://x/"), Exchange("http://x/c"))
    first = mode.called(step, Progress(), Operation.STEP, BEGUN)
    again = mode.called(step, first, Operation.STEP, BEGUN)
    assert all(map(mode.is_guarded, (first, again, mode.called(step, again, Operation.COMPENSATE, BEGUN))))
    for before in (replace(first, guarded=0), replace(again, guarded=1)):
        later = mode.called(step, before, Operation.STEP, BEGUN)
        assert not any(
            map(mode.is_guarded, (before, later, mode.called(step, later, Operation.COMPENSATE, BEGUN)))
        )


def test_what_must_not_be_called_any_more_may_have_been_done() -> None:
    step, pivot = (StepPlan("pay", Exchange("http://pay/"), pivot=each) for each in (False, True))
    once = replace(mode.called(step, Progress(), Operation.STEP, BEGUN), state=StepState.RETRYING)

    def told(plan: StepPlan, progress: Progress) -> Progress:
        return mode.not_called(plan, progress, "no egress", BEGUN)

    assert told(step, Progress()).state is told(pivot, Progress()).state is StepState.REFUSED
    assert told(step, once).state is StepState.UNANSWERED
    assert told(pivot, once).state is StepState.RETRYING
    assert told(pivot, once).step.next_at == BEGUN + mode.PATIENT.most
    assert {told(*each).step.problem for each in ((step, once), (pivot, once))} == {"no egress"}


def test_what_a_guard_row_says_is_done_whatever_the_statuses_are() -> None:
    step = StepPlan("a", Exchange("http://x/"), success_statuses=frozenset({201}))
    progress = mode.called(step, Progress(), Operation.STEP, BEGUN)
    told = (step, progress, Operation.STEP)
    for found, state in ((True, StepState.DONE), (False, StepState.REFUSED)):
        answer = Answer(200, found=found)
        made = mode.answered(*told, answer, BEGUN, place=1, outcome=None, chance=0.0)
        assert made.state is state


NAMES = ("a", "b", "c", "d", "e")


@st.composite
def plans(draw: st.DrawFn) -> SagaPlan:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    pivot = draw(st.sampled_from([*names, ""]))
    steps: list[StepPlan] = []
    for index, name in enumerate(names):
        on = tuple(sorted(draw(st.sets(st.sampled_from(names[:index] or [""]))) - {""}))
        after = pivot in on or any(each.name in on and each.compensation is None for each in steps)
        plain = name == pivot or after
        undo = None if plain else Exchange("http://x/c")
        steps.append(StepPlan(name, Exchange("http://x/"), undo, on, pivot=name == pivot))
    return SagaPlan(tuple(steps))


class Truth:
    """What the applications have really done, and in which order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.undone: list[str] = []

    def do(self, command: CallStep) -> None:
        made = self.done if command.operation is Operation.STEP else self.undone
        if command.step.name not in made:
            made.append(command.step.name)


@given(plans(), st.data())
def test_whatever_happens_all_steps_are_done_or_all_are_taken_back(
    plan: SagaPlan, data: st.DataObject
) -> None:
    """Calls are done, refused, lost on either way or cut off by a crash, and a deadline may pass."""
    world, truth = World(plan), Truth()
    list(world.conduct())
    for _ in range(60):
        world.chance = data.draw(st.floats(0, 1, exclude_max=True))
        happens = data.draw(
            st.sampled_from(["answer", "answer", "refuse", "lose", "lose answer", "crash", "deadline"])
        )
        _happen(world, truth, happens, data)
    _settle(world, truth)
    assert world.transaction.decision is not None
    states = {each.state for each in world.branches.values()}
    if world.transaction.decision.outcome is Outcome.COMMIT:
        assert sorted(truth.done) == sorted(each.name for each in plan.steps)
        assert not truth.undone
    else:
        compensable = {each.name for each in plan.steps if each.compensation is not None}
        assert set(truth.done) & compensable <= set(truth.undone)
    assert states <= ENDS


def _happen(world: World, truth: Truth, happens: str, data: st.DataObject) -> None:
    if happens == "deadline":
        if not world.transaction.pivoting:
            world.take(Outcome.ROLLBACK, Reason.DEADLINE_EXCEEDED)
    elif happens == "crash":
        for each in world.calls.values():
            if data.draw(st.booleans()):
                truth.do(each)
        world.calls.clear()
    elif world.calls:
        name = data.draw(st.sampled_from(sorted(world.calls)))
        command = world.calls[name]
        refused = happens == "refuse" and command.step.name not in truth.done
        if happens in {"answer", "lose answer"}:
            truth.do(command)
        answers = {"answer": Answer(200, "{}"), "refuse": Answer(409 if refused else 503)}
        world.answered(name, answers.get(happens, Answer(problem="lost")))
    else:
        world.now = world.now + timedelta(minutes=10)
    list(world.conduct())


def _settle(world: World, truth: Truth) -> None:
    """From now on everything is answered."""
    for _ in range(200):
        for name in sorted(world.calls):
            truth.do(world.calls[name])
            world.answered(name, Answer(200, "{}"))
        list(world.conduct())
        if world.over:
            return
        if not world.calls:
            world.now += timedelta(minutes=10)
    pytest.fail("it never ends")
