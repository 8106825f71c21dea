"""What is wrong with a saga is told before any of it runs."""

from __future__ import annotations

import pytest

from globaltx.modes.declaring import problems
from globaltx.transaction.declared import Exchange, Recovery, SagaPlan, StepPlan

UNDO = Exchange("http://x/cancel")


def step(name: str, *on: str, uses: str = "", pivot: bool = False, undo: Exchange | None = None) -> StepPlan:
    body = f'"{{{{ steps.{uses}.body }}}}"' if uses else ""
    return StepPlan(name, Exchange("http://x/", body=body), undo, on, pivot=pivot)


def told(*steps: StepPlan, recovery: Recovery = Recovery.BACKWARD) -> str:
    return "; ".join(problems(SagaPlan(steps, recovery)))


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([step("a", "a")], "depends on itself"),
        ([step("a", "b"), step("b", "c"), step("c", "a")], "depends on itself"),
        ([step("a", "nobody")], "there is no step 'nobody'"),
        ([step("a"), step("a")], "a name of its own"),
        ([step("a", uses="nobody")], "there is no step 'nobody'"),
        ([step("a", uses="b"), step("b")], "name it in dependsOn"),
        ([step("a", uses="a")], "name it in dependsOn"),
        ([step("a", pivot=True), step("b", pivot=True)], "both pivots"),
        ([step("a", pivot=True), step("b", "a", undo=UNDO)], "what follows the pivot"),
        ([StepPlan("a", Exchange("http://x/", body="{{ xid"))], "not JSON"),
        ([StepPlan("a", Exchange("http://x/{{ xid"))], "{{ without }}"),
    ],
)
def test_what_is_wrong(steps: list[StepPlan], sentence: str) -> None:
    assert sentence in told(*steps)


def test_forward_takes_nothing_back() -> None:
    assert "takes nothing back" in told(step("a", undo=UNDO), recovery=Recovery.FORWARD)
    assert "nothing is taken back" in told(step("a", pivot=True), recovery=Recovery.FORWARD)


def test_what_is_right() -> None:
    own = Exchange("http://x/{{ steps.a.body.id }}/cancel")
    steps = [step("a", undo=own), step("b", "a", uses="a", undo=UNDO), step("c", "b", uses="a", pivot=True)]
    assert not told(*steps)
