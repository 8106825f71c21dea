"""One short seed of `python -m tests.chaos`; `make chaos` runs more of them for longer."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.chaos.plans import draw
from tests.chaos.run import run

if TYPE_CHECKING:
    from pathlib import Path

    from dev.cluster.cluster import Cluster

SEED = 7


@pytest.mark.kill
@pytest.mark.database
@pytest.mark.timeout(400)
def test_nothing_is_lost_whatever_breaks(control_plane: Cluster, tmp_path: Path) -> None:
    namespace = f"chaos-{secrets.token_hex(3)}"
    control_plane.kubectl("create", "namespace", namespace)
    report = run(control_plane, namespace, tmp_path, SEED, seconds=20)
    assert not report.wrong, str(report)
    assert report.committed, str(report)


def test_a_seed_gives_the_same_plans_again() -> None:
    first, again, other = ([draw(seed, number) for number in range(50)] for seed in (1, 1, 2))
    assert first == again != other
    assert all(sum(move.amount for leg in plan.legs for move in leg.moves) == 0 for plan in first)
