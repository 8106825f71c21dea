"""Break things at random and look whether the invariant holds: ``python -m tests.chaos --seeds 5``."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from dev.cluster.cluster import Cluster
from tests.chaos.run import run

CRDS = Path(__file__).parents[2] / "crds"


def main() -> int:
    """Run the seeds; 0 only if all of them hold."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # everything is taken down on the way out
    bad = 0
    name = f"chaos-{secrets.token_hex(2)}"
    with Cluster.up(name, "control-plane") as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
        for seed in range(options.first, options.first + options.seeds):
            namespace = f"seed-{seed}"
            cluster.kubectl("create", "namespace", namespace)
            with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
                report = run(cluster, namespace, Path(folder), seed, options.seconds, options.every)
                if report.wrong and options.keep is not None:
                    _keep(Path(folder), options.keep / f"{seed}-{int(time.time())}", str(report))
            sys.stdout.write(f"{report}\n")
            sys.stdout.flush()
            bad += bool(report.wrong)
    sys.stdout.write(f"{options.seeds - bad} of {options.seeds} seeds hold\n")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument(
        "--seconds", type=float, default=60, help="how long clients and faults go on for each"
    )
    parser.add_argument("--every", type=float, default=3.0, help="seconds between two faults on the average")
    parser.add_argument("--keep", type=Path, help="where to keep the logs of seeds that do not hold")
    return parser


def _keep(folder: Path, where: Path, report: str) -> None:
    where.mkdir(parents=True)
    (where / "report").write_text(report)
    for log in folder.rglob("*log"):
        if log.is_file():
            (where / "-".join(log.relative_to(folder).parts)).write_bytes(log.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
