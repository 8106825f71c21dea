"""Golden scenarios of TCC: ``tests/scenarios/tcc/*.txt``.

A block is what is known of a branch and what the application answers, a line ``----``, and what that
asks for. ``REWRITE=1 pytest tests/modes`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcc
from globaltx.modes.tcc import Verdict
from globaltx.transaction.calls import Calls
from globaltx.transaction.model import RESOURCE_LENGTH_MAX
from tests.golden import check
from tests.modes.stage import XID, Stage

FOLDER = Path(__file__).parent.parent / "scenarios" / "tcc"
FILES = sorted(FOLDER.glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    check(file, Stage())


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


@given(st.frozensets(st.integers(100, 599)))
def test_of_grpc_0_alone_means_done(success: frozenset[int]) -> None:
    calls = Calls("/c", "/x", success_statuses=success)
    verdicts = {status: tcc.judge(calls, status) for status in range(17)}
    again = [status for status, each in verdicts.items() if each is Verdict.LATER]
    assert again == [1, 2, 4, 8, 10, 13, 14, 15]  # what time heals
    assert [status for status, each in verdicts.items() if each is Verdict.DONE] == [0]


def test_a_status_is_shown_as_what_it_is() -> None:
    assert [tcc.shown(each) for each in (0, 16, 100, 404)] == [
        "grpc-status 0",
        "grpc-status 16",
        "status 100",
        "status 404",
    ]
