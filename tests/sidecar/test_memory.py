from __future__ import annotations

import subprocess
import sys

HEAVY = ("sqlglot", "kopf", "kubernetes", "hypothesis", "psutil", "flask", "jsonschema")
"""What a sidecar at rest has no use for: each takes several MiB (`make bench` measures the whole)."""


def test_a_sidecar_starts_without_what_it_needs_only_later_or_never() -> None:
    program = f"import sys, globaltx_sidecar.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
