"""Golden scenarios of TCD: ``tests/scenarios/tcd/*.txt``, as those of TCC."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from globaltx.coordinator.reasons import Reason
from globaltx.modes import tcd
from globaltx.modes.tcc import Call
from globaltx.transaction.calls import Calls
from globaltx.transaction.model import Branch, BranchId, Mode
from globaltx.transaction.states import Outcome
from tests.golden import check
from tests.modes.stage import XID, Stage

FOLDER = Path(__file__).parent.parent / "scenarios" / "tcd"
FILES = sorted(FOLDER.glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    check(file, Stage(Mode.TCD))


def test_the_mode_s_word_is_a_reason() -> None:
    assert Reason.RESERVATION_EXPIRED == tcd.RESERVATION_EXPIRED


@given(st.booleans(), st.sampled_from(["", "/confirm"]))
def test_a_rollback_asks_for_no_call(started: bool, path: str) -> None:  # noqa: FBT001  hypothesis
    branch = Branch(
        BranchId(XID, "shop", "r.1"), Mode.TCD, Outcome.ROLLBACK, calls=Calls(path, ""), started=started
    )
    assert not isinstance(tcd.duty(branch), Call)
