"""``python -m dev.check [--deep] [--only WORD]``: everything that guards main."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dev import install
from dev.check.report import Counts, Result, count, table
from dev.check.suites import DEEP, SUITES, Suite, missing
from dev.errors import ToolError

_LINT_TIMEOUT_S = 900
_SUITE_TIMEOUT_S = 2700
_BIN = Path(sys.executable).parent
_LINT = {
    "ruff check": [str(_BIN / "ruff"), "check", "--quiet"],
    "ruff format": [str(_BIN / "ruff"), "format", "--check", "--quiet"],
    "mypy --strict": [str(_BIN / "mypy"), "--no-error-summary"],
    "import contracts": [str(_BIN / "lint-imports")],
}


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _lint(title: str, command: list[str]) -> Result:
    _say(title)
    begun = time.monotonic()
    code = subprocess.run(command, check=False, timeout=_LINT_TIMEOUT_S).returncode
    return Result(title, Counts(), time.monotonic() - begun, failed=code != 0)


def _run(suite: Suite, folder: Path) -> Result:
    _say(suite.title)
    why = missing(suite.needs)
    if why:
        print(f"left out: {why}", flush=True)
        return Result(suite.title, left_out=why)
    _provide(suite)
    begun = time.monotonic()
    junit = folder / "junit.xml"
    junit.unlink(missing_ok=True)
    command = [str(_BIN / "pytest"), *suite.arguments, f"--junitxml={junit}", "--durations=5"]
    code = subprocess.run(command, check=False, timeout=_SUITE_TIMEOUT_S).returncode
    counts = count(junit)
    return Result(suite.title, counts, time.monotonic() - begun, failed=code != 0)


def _provide(suite: Suite) -> None:
    """Install what single tests want; they are skipped without it, so it is no end of all."""
    try:
        if suite.packages and install.can():
            install.ensure(suite.packages, "single tests")
    except ToolError as error:
        print(f"not installed: {error}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.check", description=__doc__)
    parser.add_argument("--only", default="", help="'lint', or a word of the titles of the suites to run")
    parser.add_argument("--deep", action="store_true", help="the deep suites too")
    return parser.parse_args()


def main() -> int:
    """Run all; 0 only if nothing failed."""
    arguments = _arguments()
    only = arguments.only
    suites = SUITES + DEEP if arguments.deep else SUITES
    results = [_lint(*each) for each in _LINT.items()] if only in {"", "lint"} else []
    with tempfile.TemporaryDirectory(prefix="globaltx-check-") as folder:
        chosen = [suite for suite in suites if only in suite.title] if only != "lint" else []
        results += [_run(suite, Path(folder)) for suite in chosen]
    _say("result")
    print(table(results), flush=True)
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
