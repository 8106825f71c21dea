"""Programs whose clocks are wrong: libfaketime tells them another time of day, and the true lapse of time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dev.install import GROUPS, ensure

if TYPE_CHECKING:
    from tests.sidecar.programs import Program

AHEAD, BEHIND = 600, -600
"""Ten minutes."""


def set_wrong(program: Program, seconds: int) -> None:
    """Set a program's clock so far ahead, or behind; it holds from its next start on."""
    program.environment = {
        **program.environment,
        "LD_PRELOAD": str(library()),
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


def library() -> Path:
    """Where libfaketime is, installed first where that can be done; without it the test is left out."""
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        ensure(GROUPS["clocks"], "a clock that is wrong")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed, and without root it cannot be")
    return found[0]
