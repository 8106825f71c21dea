"""Resolve the lock files anew from pyproject.toml: ``python -m dev.lock``.

``requirements.lock`` is everything; those of the images are what one of them needs, at the same
versions; those of client programs are resolved from the ``requirements.txt`` beside them. They name
versions and hashes only, so that they serve whatever registry a machine uses.
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
_CLIENTS = ("tests/clients/python", "tests/clients/django")
_TARGETS = {
    "requirements.lock": ["--all-extras", "--group=dev", "pyproject.toml"],
    "requirements-operator.lock": ["--extra=operator", "--constraint=requirements.lock", "pyproject.toml"],
    "requirements-sidecar.lock": ["--extra=sidecar", "--constraint=requirements.lock", "pyproject.toml"],
    **{f"{folder}/requirements.lock": [f"{folder}/requirements.txt"] for folder in _CLIENTS},
}


def main() -> int:
    """Write every lock file; the exit code of the first that fails."""
    for target, options in _TARGETS.items():
        print(f"resolving {target}", flush=True)
        command = [*_COMPILE, *options, f"--output-file={target}"]
        code = subprocess.run(command, check=False, timeout=_TIMEOUT_S, stdout=subprocess.DEVNULL).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
