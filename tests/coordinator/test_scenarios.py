"""Golden scenarios of the operator: ``tests/scenarios/operator/*.txt``.

A block is commands, a line ``----``, and exactly what is done; blocks are set apart by empty lines.
``REWRITE=1 pytest tests/coordinator/test_scenarios.py`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.coordinator.stage import Stage

FOLDER = Path(__file__).parent.parent / "scenarios" / "operator"
FILES = sorted(FOLDER.glob("*.txt"))


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
