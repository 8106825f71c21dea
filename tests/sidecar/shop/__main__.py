"""Run the kill matrix and print moment, outcome and rows: ``python -m tests.sidecar.shop [--all]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from dev.cluster.cluster import Cluster
from dev.databases import MariaDB
from tests.sidecar.shop.matrix import REQUESTS, VICTIMS, Finding, diagonal, every_cell, run
from tests.sidecar.shop.moments import MOMENTS
from tests.sidecar.shop.stage import SQL, Shop
from tests.sidecar.site import Site

NAME = "kill-matrix"
CRDS = Path(__file__).parents[3] / "crds"
LINE = "{:8} {:16} {:20} {:>6} {:9} {:>7} {:>5} {:>9} {:>5} {:>6}  {}"


def main() -> int:
    """Run what was asked for; 0 only if every cell holds."""
    options = _parser().parse_args()
    cells = [
        cell
        for cell in (every_cell() if options.all else diagonal())
        if cell.moment in options.moments
        and cell.victim in options.victims
        and cell.request in options.requests
    ]
    with tempfile.TemporaryDirectory() as folder, Cluster.up(NAME, "control-plane") as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        cluster.kubectl("create", "namespace", NAME)
        with MariaDB.up(NAME, sql=SQL) as database, Shop(Site(cluster, NAME, Path(folder)), database) as shop:
            sys.stdout.write(_head())
            findings = [_show(run(shop, cell)) for cell in cells]
    good = sum(finding.holds for finding in findings)
    sys.stdout.write(f"{good} of {len(findings)} hold\n")
    return 0 if good == len(findings) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sidecar.shop", description=__doc__)
    parser.add_argument("--all", action="store_true", help="every victim at every moment, instead of one")
    for name, every in (("moments", MOMENTS), ("victims", VICTIMS), ("requests", REQUESTS)):
        parser.add_argument(
            f"--{name}", nargs="+", choices=list(every), default=list(every), metavar=name.upper()
        )
    return parser


def _head() -> str:
    columns = (
        "request",
        "moment",
        "killed",
        "answer",
        "outcome",
        "masters",
        "items",
        "available",
        "undo",
        "s",
        "",
    )
    return LINE.format(*columns) + "\n"


def _show(finding: Finding) -> Finding:
    rows, cell = finding.rows, finding.cell
    sys.stdout.write(
        LINE.format(
            cell.request,
            cell.moment,
            cell.victim,
            finding.answer,
            finding.outcome or "none",
            rows.masters,
            rows.items,
            rows.available,
            rows.undo_order + rows.undo_product,
            f"{finding.seconds:.1f}",
            "ok" if finding.holds else "BROKEN",
        )
        + "\n"
    )
    sys.stdout.flush()
    return finding


if __name__ == "__main__":
    sys.exit(main())
