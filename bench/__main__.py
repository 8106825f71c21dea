"""Measure, print a table, write results.json and results.svg: ``make bench``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path

from bench import passthrough, resting
from bench.figures import Figure, table
from bench.picture import svg
from globaltx import __version__

ROUNDS = 5
HERE = Path(__file__).parent


def main() -> int:
    """Measure everything; 0 only if every bound is kept."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--folder", type=Path, default=HERE, help="where the results are written")
    options = parser.parse_args()
    figures = [*resting.measure(options.rounds), *_passed_through(options.rounds)]
    print(table(figures))
    machine = {"python": platform.python_version(), "system": platform.system(), "processors": os.cpu_count()}
    results = {"version": __version__, "machine": machine, "figures": [each.to_json() for each in figures]}
    (options.folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.folder / "results.svg").write_text(svg(figures))
    return 0 if all(each.kept for each in figures) else 1


def _passed_through(rounds: int) -> list[Figure]:
    found = passthrough.measure(rounds=rounds)
    note = f"{found.queries_per_second:,.0f} queries/s, {found.direct_queries_per_second:,.0f} without"
    return [
        Figure("CPU a passed-through query", "µs", found.cpu_us, note=note),
        Figure("the same in a forwarder that looks at nothing", "µs", found.forwarder_us),
    ]


if __name__ == "__main__":
    sys.exit(main())
