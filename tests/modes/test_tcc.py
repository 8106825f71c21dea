"""Golden scenarios of TCC: ``tests/scenarios/tcc/*.txt``.

A block is what is known of a branch and what the application answers, a line ``----``, and what that
asks for. ``REWRITE=1 pytest tests/modes`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc
from globaltx.modes.tcc import Call, Verdict
from globaltx.transaction.calls import Calls
from globaltx.transaction.model import RESOURCE_LENGTH_MAX, Branch, BranchId, Mode
from globaltx.transaction.states import Outcome
from globaltx.transaction.xid import Xid

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "scenarios" / "tcc"
FILES = sorted(FOLDER.glob("*.txt"))
XID = Xid("shop", "t1")


class Stage:
    """One branch and the refusals in a row."""

    def __init__(self) -> None:
        self.branch = Branch(BranchId(XID, "bank", "debit.1"), Mode.TCC)
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

    def start(self) -> Iterator[str]:
        self.branch_with(started=True)
        yield from ()

    def outcome(self, word: str) -> Iterator[str]:
        self.branch_with(outcome=Outcome(word))
        duty = tcc.duty(self.branch)
        if isinstance(duty, Call):
            yield f"call {duty.operation} {duty.path}"
        else:
            yield f"{duty.state}: {duty.message}"

    def answer(self, status: str) -> Iterator[str]:
        duty = tcc.duty(self.branch)
        assert isinstance(duty, Call)
        verdict = tcc.judge(duty.calls, int(status))
        if verdict is Verdict.DONE:
            yield f"{(end := tcc.answered(self.branch, int(status))).state}: {end.message}"
            return
        self.refusals = self.refusals + 1 if verdict is Verdict.REFUSED else 0
        stuck = tcc.conflict(duty, int(status), self.refusals)
        yield f"{stuck.state}, {stuck.reason}: {stuck.message}" if stuck else f"{verdict}, call again"


def played(text: str) -> str:
    stage = Stage()
    blocks = []
    for block in text.strip().split("\n\n"):
        commands = block.partition("\n----")[0]
        lines = [line for line in commands.splitlines() if not line.startswith("#")]
        reaction = [told for line in lines for told in stage.play(line)]
        blocks.append("\n".join([commands, "----", *reaction]))
    return "\n\n".join(blocks) + "\n"


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    text = file.read_text()
    answer = played(text)
    if os.environ.get("REWRITE"):
        file.write_text(answer)
    assert answer == text


def test_the_mode_s_word_is_a_reason() -> None:
    assert Reason.CALL_REFUSED == tcc.CALL_REFUSED


names = st.text(st.sampled_from("ab-"), min_size=1, max_size=63)


@given(names, names, st.text(), st.text())
def test_a_branch_is_one_route_and_one_mark(route: str, other: str, mark: str, another: str) -> None:
    one, two = tcc.branch_id(XID, "bank", route, mark), tcc.branch_id(XID, "bank", other, another)
    assert (one == two) == ((route, mark) == (other, another))
    assert len(one.resource) <= RESOURCE_LENGTH_MAX
    assert route.startswith(tcc.route_of(one))


@given(st.integers(100, 599), st.frozensets(st.integers(100, 599)))
def test_only_a_success_status_means_done(status: int, success: frozenset[int]) -> None:
    verdict = tcc.judge(Calls("/c", "/x", success_statuses=success), status)
    assert (verdict is Verdict.DONE) == (status in success)
