"""Measure, print a table, write results.json and results.svg: ``make bench``, ``make bench ONLY=plain``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import resting
from bench.figures import Figure, table
from bench.options import Options
from bench.picture import svg
from bench.rows import coordination, growth, local, order, plain, settle
from bench.stores import KINDS
from dev.errors import ToolError
from dev.progress import say, step
from globaltx import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROWS: dict[str, Callable[[Options], list[Figure]]] = {
    "rest": lambda options: resting.measure(options.rounds),
    "plain": plain.measure,
    "local": local.measure,
    "begin+decide": coordination.measure,
    "order": order.measure,
    "hot": order.hot,
    "settle": settle.measure,
    "growth": growth.measure,
}


def main() -> int:
    """Measure; 0 if every row could be measured, kept or not."""
    asked = _parser().parse_args()
    options = Options(asked.rounds, asked.seconds, asked.store)
    names = [name for name in ROWS if name in (asked.only or ROWS)]
    began, figures, missing = time.monotonic(), [], []
    for name in names:
        try:
            with step(f"row {name}"):
                figures += [replace(each, row=name) for each in ROWS[name](options)]
        except (ToolError, OSError) as error:
            say(f"{name} could not be measured: {error}")
            missing.append(name)
    sys.stdout.write(table(figures))
    not_kept = [f"{each.row}: {each.name}" for each in figures if not each.kept]
    say(f"{time.monotonic() - began:.0f} s; bounds not kept: {'; '.join(not_kept) or 'none'}")
    _write(asked.folder, figures)
    return 1 if missing else 0


def _write(folder: Path, figures: list[Figure]) -> None:
    machine = {"python": platform.python_version(), "system": platform.system(), "processors": os.cpu_count()}
    results = {"version": __version__, "machine": machine, "figures": [each.to_json() for each in figures]}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.svg").write_text(svg(figures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    defaults = Options()
    parser.add_argument("--only", nargs="*", choices=list(ROWS), help="these rows, instead of all")
    parser.add_argument("--rounds", type=int, default=defaults.rounds)
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="of load in a round")
    parser.add_argument("--store", choices=KINDS, default=defaults.store, help="what the sidecars use")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the results are written")
    return parser


if __name__ == "__main__":
    sys.exit(main())
