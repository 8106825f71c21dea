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
        "globaltx_operator.main": ("kubernetes", "aiomysql", "globaltx_sidecar", "globaltx_cli"),
    }.items():
        program = f"import sys, {module}; sys.exit(', '.join(sorted(set({forbidden!r}) & set(sys.modules))) or None)"
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{module} imports {done.stderr}"
