"""Golden scenarios: blocks of commands, a line ``----``, and exactly what is done about them.

Blocks are set apart by empty lines; with ``REWRITE=1`` the reactions are written anew: review the diff.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Player(Protocol):
    """What the commands are told, in their order."""

    def play(self, line: str, /) -> Iterable[str]:
        """Carry a command out; give what comes of it, line by line."""


def played(text: str, player: Player) -> str:
    """Write a scenario with the reactions that it has now."""
    blocks = []
    for block in text.strip().split("\n\n"):
        commands = block.partition("\n----")[0]
        lines = [line for line in commands.splitlines() if not line.startswith("#")]
        reaction = [told for line in lines for told in player.play(line)]
        blocks.append("\n".join([commands, "----", *reaction]))
    return "\n\n".join(blocks) + "\n"


def check(file: Path, player: Player) -> None:
    """Play a file's scenario, and see that it is as it stands there."""
    text = file.read_text()
    answer = played(text, player)
    if os.environ.get("REWRITE"):
        file.write_text(answer)
    assert answer == text
