"""Resolve the lock files anew from pyproject.toml: ``python -m dev.lock``.

``requirements.lock`` is everything; those of the images are what one of them needs, at the same
versions. They name versions and hashes only, so that they serve whatever registry a machine uses.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_COMPILE = [
    str(Path(sys.executable).parent / "uv"),
    "pip",
    "compile",
    "--quiet",
    "--universal",
    "--generate-hashes",
    "--no-emit-index-url",
    "--python-version=3.11",
]
_TIMEOUT_S = 300
_TARGETS = {
    "requirements.lock": ["--all-extras", "--group=dev"],
    "requirements-operator.lock": ["--extra=operator", "--constraint=requirements.lock"],
    "requirements-sidecar.lock": ["--extra=sidecar", "--constraint=requirements.lock"],
}


def main() -> int:
    """Write every lock file; the exit code of the first that fails."""
    for target, options in _TARGETS.items():
        print(f"resolving {target}", flush=True)
        command = [*_COMPILE, *options, "pyproject.toml", f"--output-file={target}"]
        code = subprocess.run(command, check=False, timeout=_TIMEOUT_S, stdout=subprocess.DEVNULL).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
