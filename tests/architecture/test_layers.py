"""The checker itself is checked: a forbidden import must be refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_package_shadows_the_standard_library() -> None:
    names = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert not names & set(sys.stdlib_module_names)


def test_the_sidecar_and_operator_start_without_each_other_and_without_client_libraries() -> None:
    for module, forbidden in {
        "globaltx_sidecar.main": ("kubernetes", "kopf", "globaltx_operator", "globaltx_cli"),
        # kopf takes a kubernetes client along where one is installed; the operator's image has none.
        "globaltx_operator.main": ("aiomysql", "globaltx_sidecar", "globaltx_cli"),
    }.items():
        program = f"import sys, {module}; print(*sorted(set({forbidden!r}) & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
        )
        assert done.stdout.split() == [], f"{module} imports {done.stdout}"
