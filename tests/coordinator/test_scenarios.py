"""Golden scenarios of the operator: ``tests/scenarios/operator/*.txt``.

A block is commands, a line ``----``, and exactly what is done; blocks are set apart by empty lines.
``REWRITE=1 pytest tests/coordinator/test_scenarios.py`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coordinator.stage import Stage
from tests.golden import check

FOLDER = Path(__file__).parent.parent / "scenarios" / "operator"
FILES = sorted(FOLDER.glob("*.txt"))


def test_there_are_scenarios() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_scenario(file: Path) -> None:
    check(file, Stage())
