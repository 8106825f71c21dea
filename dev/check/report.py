"""Counts out of pytest's JUnit files, and the table at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tests of a suite went how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table; ``left_out`` says why a suite did not run."""

    title: str
    counts: Counts = Counts()
    seconds: float = 0.0
    failed: bool = False
    left_out: str = ""

    @property
    def state(self) -> str:
        """The word in the table's first column."""
        if self.left_out:
            return "left out"
        return "FAILED" if self.failed else "ok"


def count(junit: Path) -> Counts:
    """Read one JUnit file; one that is missing counts as a failure."""
    if not junit.exists():
        return Counts(failed=1)
    totals = Counts()
    for suite in ET.parse(junit).getroot().iter("testsuite"):  # noqa: S314  pytest wrote it a moment ago
        tests, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
        failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
        totals += Counts(tests - skipped - failed, failed, skipped)
    return totals


def table(results: Sequence[Result]) -> str:
    """The table of all suites, then the plain line that closes the run."""
    rows = [
        f"{result.state:8}  {result.counts.passed:5}  {result.counts.failed:4}  {result.counts.skipped:4}  "
        f"{result.seconds:6.0f}s  {result.title}"
        for result in results
    ]
    head = f"{'':8}  {'passed':>5} {'failed':>4} {'skip':>5}  {'time':>6}"
    left_out = [f"left out: {each.title}: {each.left_out}" for each in results if each.left_out]
    totals = sum((result.counts for result in results), Counts())
    closing = f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped"
    return "\n".join([head, *rows, *left_out, "", closing])
