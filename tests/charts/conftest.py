"""helm on the chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

CHART = Path(__file__).parents[2] / "charts" / "globaltx"
CRDS = Path(__file__).parents[2] / "crds"
GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="session")
def helm() -> Callable[..., str]:
    """Run helm; it raises `dev.errors.CommandError` with what helm said."""
    from dev.cluster.binaries import binaries  # noqa: PLC0415  only where such tests are run
    from dev.shell import run  # noqa: PLC0415

    program = binaries() / "helm"
    return lambda *words: run(program, *words, timeout=60)


def template(helm: Callable[..., str], *values: str) -> str:
    """Render the chart with ``--set`` values."""
    chosen = [f"--set={each}" for each in values]
    return helm("template", "globaltx", str(CHART), "--namespace", "globaltx-system", *chosen)


def rendered(helm: Callable[..., str], *values: str) -> list[dict[str, Any]]:
    """Render the chart as objects."""
    return [each for each in yaml.safe_load_all(template(helm, *values)) if each]
