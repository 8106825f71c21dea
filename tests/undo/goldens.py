"""Golden texts: what goes in, ``----``, what comes out; blocks are parted by an empty line.

``REWRITE=1 pytest tests/undo`` writes the reactions anew: review the diff. Lines that begin with ``#``
before a block are remarks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = Path(__file__).parent


def check(name: str, react: Callable[[str], str]) -> None:
    """Run every block of a file through ``react`` and compare the whole file."""
    path = _FOLDER / name
    blocks = path.read_text().strip("\n").split("\n\n")
    found = "\n\n".join(_react(block, react) for block in blocks) + "\n"
    if os.environ.get("REWRITE"):
        path.write_text(found)
    assert found == path.read_text()
    assert len(blocks) > 1


def _react(block: str, react: Callable[[str], str]) -> str:
    lines = block.partition("\n----")[0].split("\n")
    question = [line for line in lines if not line.startswith("# ")]
    if not question:
        return block
    return "\n".join([*lines, "----", react("\n".join(question))])
