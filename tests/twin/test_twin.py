"""Random sequences, and the kept ones, against the twin: ``cases/*.txt`` hold what has failed once.

``--sequences N`` says how many random ones there are. A failing one is shown as a text: keep it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pymysql
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.twin.case import parse
from tests.twin.pair import CannotBeMade
from tests.twin.reduce import reduced
from tests.twin.statements import cases

if TYPE_CHECKING:
    from dev.databases import Server
    from tests.twin.case import Case
    from tests.twin.pair import Pair
    from tests.twin.wire import Answer

FOLDER = Path(__file__).parent / "cases"
SECONDS_MAX = 2400
SEQUENCES = 200
FAILURES = (AssertionError, pymysql.MySQLError, OSError)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_kept(pair: Pair, server: Server, file: Path) -> None:
    text = file.read_text()
    if text.startswith("# only ") and not text.startswith(f"# only {server.kind}"):
        pytest.skip("the other server's")
    pair.check(parse(text))


def _checked(pair: Pair, case: Case) -> list[Answer]:
    """Check a case; of one that fails, tell the smallest that fails alike."""
    try:
        return pair.check(case)
    except FAILURES as failure:
        error = failure
    small = reduced(case, lambda each: _kind(_failure(pair, each)) == _kind(error))
    message = f"{error}\n\nsmaller: {_failure(pair, small)}\n\nkeep it in {FOLDER}:\n{small.text()}"
    raise AssertionError(message)


def _failure(pair: Pair, case: Case) -> Exception | None:
    try:
        pair.check(case)
    except FAILURES as error:
        return error
    except CannotBeMade:
        pass
    return None


def _kind(error: Exception | None) -> str:
    """What two failures have in common, whatever the rows hold: where it was seen, and how."""
    return f"{type(error).__name__} {re.sub(r'[^a-z ]', '', str(error))[:20]}"


@pytest.mark.timeout(SECONDS_MAX)
def test_sequences(pair: Pair, server: Server, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--sequences")
    refused = played = 0

    @settings(
        max_examples=count or SEQUENCES,
        deadline=None,
        derandomize=count is None,
        database=None,
        phases=(Phase.generate,),  # it is made smaller here, which takes seconds instead of minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def play(data: st.DataObject) -> None:
        nonlocal refused, played
        case = data.draw(cases(server.kind))
        answers = _checked(pair, case)
        changes = [
            answer for step, answer in zip(case.steps, answers, strict=True) if not step.sql.startswith("SET")
        ]
        played += len(changes)
        refused += sum(answer.error == 1105 for answer in changes)

    play()
    print(f"{played} statements, {refused} of them refused")  # noqa: T201  shown by -s
    assert refused < played / 2, "the sequences show nothing when most of it is refused"
