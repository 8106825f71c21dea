"""What `check` has found, one line each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from globaltx_cli.table import table

if TYPE_CHECKING:
    from collections.abc import Sequence


class Level(StrEnum):
    """How bad it is: a problem must be mended, a warning should be known."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class Finding:
    """``sentence`` says what is the matter with ``subject``, and what to do."""

    level: Level
    subject: str
    sentence: str


def report(findings: Sequence[Finding]) -> str:
    """Lay the findings out, with their number at the end."""
    problems = sum(each.level is Level.PROBLEM for each in findings)
    warnings = sum(each.level is Level.WARNING for each in findings)
    rows = [(str(each.level), each.subject, each.sentence) for each in findings]
    total = f"{len(findings)} checked, {_count(problems, 'problem')}, {_count(warnings, 'warning')}"
    return f"{table(('', 'WHAT', 'FOUND'), rows)}\n\n{total}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
