"""Measure and print a table: ``make bench``, ``make bench ONLY=plain``.

A run of all rows also writes results.json, results.svg and the figures in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import sysconfig
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import resting
from bench.figures import Figure, table
from bench.options import Options
from bench.page import PAGE, filled
from bench.picture import svg
from bench.rows import calls, coordination, growth, http, local, order, plain, settle, shown
from bench.stores import KINDS
from dev.folders import locked, state_root
from dev.progress import say, step
from globaltx import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
LOCK = state_root() / "_benchmark.lock"
"""Held by the one benchmark that runs; clusters have locks beside it, by their names."""
ROWS: dict[str, Callable[[Options], list[Figure]]] = {
    "rest": lambda options: resting.measure(options.rounds),
    "plain": plain.measure,
    "http": http.measure,
    "local": local.measure,
    "begin+decide": coordination.measure,
    "order": order.measure,
    "order, kubernetes": order.kubernetes,
    "hot": order.hot,
    "tcc": calls.tcc,
    "saga": calls.saga,
    "saga, declared": calls.declared,
    "settle": settle.measure,
    "shown": shown.measure,
    "growth": growth.measure,
}


def main() -> int:
    """Measure; 0 if every row could be measured, kept or not."""
    asked = _parser().parse_args()
    options = Options(asked.rounds, asked.seconds, asked.store, tuple(asked.growth), asked.open_branches)
    names = [name for name in ROWS if name in (asked.only or ROWS)]
    with ExitStack() as alone:
        with step("be the only benchmark on this machine"):
            alone.enter_context(locked(LOCK))
        began = time.monotonic()
        figures, missing = _measured(names, options)
    sys.stdout.write(table(figures))
    not_kept = [f"{each.row}: {each.name}" for each in figures if not each.kept]
    say(f"{time.monotonic() - began:.0f} s; bounds not kept: {'; '.join(not_kept) or 'none'}")
    if asked.folder is not None or names == list(ROWS):
        _write(asked.folder or HERE, figures, PAGE if asked.folder is None else None)
    if missing:
        say(f"could not be measured: {', '.join(missing)}")
    return 1 if missing else 0


def _measured(names: list[str], options: Options) -> tuple[list[Figure], list[str]]:
    """The figures of rows, and which of them could not be measured."""
    figures: list[Figure] = []
    missing: list[str] = []
    for number, name in enumerate(names, 1):
        try:
            with step(f"row {name}, {number} of {len(names)}"):
                figures += [replace(each, row=name) for each in ROWS[name](options)]
        except Exception as error:  # noqa: BLE001  whatever it is, the other rows are measured, and it is told
            say("".join(traceback.format_exception(error)))
            missing.append(name)
    return figures, missing


def _write(folder: Path, figures: list[Figure], page: Path | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    machine = {
        "python": platform.python_version(),
        "optimised": _is_optimised(),
        "system": platform.system(),
        "processors": os.cpu_count(),
    }
    results = {"version": __version__, "machine": machine, "figures": [each.to_json() for each in figures]}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.svg").write_text(svg(figures))
    if page is not None:
        page.write_text(filled(page.read_text(), results))


def _is_optimised() -> bool:
    """Whether the interpreter was built with its optimisations; Debian's are, and do not say so."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return sys.base_prefix == "/usr" or "--enable-optimizations" in flags


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    defaults = Options()
    parser.add_argument("--only", nargs="*", choices=list(ROWS), help="these rows, instead of all")
    parser.add_argument("--rounds", type=int, default=defaults.rounds)
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="of load in a round")
    parser.add_argument("--store", choices=KINDS, default=defaults.store, help="what the sidecars use")
    parser.add_argument(
        "--growth", type=int, nargs="+", default=defaults.growth, help="numbers of transactions"
    )
    parser.add_argument("--open-branches", type=int, default=defaults.open_branches, help="left undecided")
    parser.add_argument("--folder", type=Path, help="where results are written, also of a part of the rows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
