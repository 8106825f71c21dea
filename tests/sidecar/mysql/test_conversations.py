"""Golden conversations: ``tests/scenarios/mysql/*.txt``, in the language of `conversation`, one each.

``REWRITE=1 pytest tests/sidecar/mysql/test_conversations.py`` writes the reactions anew: review the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sidecar.mysql.conversation import Conversation

FOLDER = Path(__file__).parents[2] / "scenarios" / "mysql"
INDENT = "    "


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.txt")), ids=lambda file: file.stem)
def test_conversation(file: Path) -> None:
    wanted = file.read_text()
    conversation = Conversation(multi_statements="multi-statements" in file.stem)
    lines: list[str] = []
    for line in wanted.splitlines():
        if line.startswith(INDENT):
            continue
        lines.append(line)
        if line and not line.startswith("#"):
            lines += [INDENT + reaction for reaction in conversation.play(line)]
    got = "\n".join(lines) + "\n"
    if os.environ.get("REWRITE"):
        file.write_text(got)
    assert got == wanted


def test_there_are_conversations() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 8
