"""The reasons in the documentation are those of the code."""

from __future__ import annotations

import os
import re
from pathlib import Path

from globaltx.coordinator.reasons import SENTENCES, Reason

PAGE = Path(__file__).parents[2] / "docs" / "resources.md"
MARKED = re.compile(r"(?<=<!-- reasons: generated)([^\n]*-->\n).*(?=<!-- reasons: end -->)", re.DOTALL)


def table() -> str:
    rows = [f"| `{reason}` | {SENTENCES[reason]} |" for reason in sorted(Reason)]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows, ""])


def test_the_page_has_every_reason_with_its_sentence() -> None:
    page = PAGE.read_text()
    wanted = MARKED.sub(lambda found: found[1] + table(), page)
    if os.environ.get("REWRITE"):
        PAGE.write_text(wanted)
    assert page == wanted


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
