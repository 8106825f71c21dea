"""The two images of the Dockerfile: small, without tools, ready for a read-only root and no rights."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.charts.conftest import CHART

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.full_cluster, pytest.mark.timeout(900)]

MEGABYTE = 10**6
SIZE_MAX = 200 * MEGABYTE
IMAGES = ("operator", "sidecar")


@pytest.fixture(scope="module")
def buildah() -> Callable[..., str]:
    """Build both images, and give what asks about them."""
    from dev.images import storage  # noqa: PLC0415  only where such tests are run
    from dev.images.build import build  # noqa: PLC0415

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("images are built by root on Linux")
    for target in IMAGES:
        build(CHART.parents[1] / "Dockerfile", target, tag(target))
    return storage.buildah


def tag(target: str) -> str:
    return f"localhost/globaltx/{target}:tested"


@pytest.mark.parametrize("target", IMAGES)
def test_it_is_small(target: str, buildah: Callable[..., str]) -> None:
    [image] = json.loads(buildah("images", "--json", tag(target)))
    number, unit = image["size"].split()
    assert unit in {"kB", "MB"}
    assert unit == "kB" or float(number) * MEGABYTE < SIZE_MAX


@pytest.mark.parametrize("target", IMAGES)
def test_its_user_is_a_number_that_is_not_root(target: str, buildah: Callable[..., str]) -> None:
    config = json.loads(buildah("inspect", "--type=image", tag(target)))["OCIv1"]["config"]
    user, _, group = config["User"].partition(":")
    assert user.isdecimal()
    assert group.isdecimal()
    assert int(user) > 0


@pytest.mark.parametrize("target", IMAGES)
def test_what_runs_is_all_there_and_nothing_that_builds(target: str, buildah: Callable[..., str]) -> None:
    program = (
        f"import globaltx_{target}.main, pathlib, sys;"
        "site = pathlib.Path(next(p for p in sys.path if p.endswith('site-packages')));"
        "assert not [p for p in ('pip', 'setuptools', 'wheel') if (site / p).exists()];"
        "bare = [str(p) for p in site.rglob('*.py') if p.parent.name != '__pycache__' "
        "and not list((p.parent / '__pycache__').glob(p.stem + '.*.pyc'))];"
        "print(bare[:3])"
    )
    container = buildah("from", "--pull-never", tag(target))
    try:
        python = "/opt/globaltx/bin/python3"
        said = buildah("run", "--isolation=chroot", container, "--", python, "-c", program)
    finally:
        buildah("rm", container)
    assert said == "[]", "bytecode is made beforehand"
