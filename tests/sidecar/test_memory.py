from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "sqlglot",
    "kopf",
    "kubernetes",
    "hypothesis",
    "psutil",
    "flask",
    "jsonschema",
    "h2",
    "hpack",
    "httptools",
    "yaml",
    "difflib",
)
"""What a sidecar at rest has no use for: most take several MiB each (`make bench` measures the whole)."""


def test_a_sidecar_starts_without_what_it_needs_only_later_or_never() -> None:
    program = f"import sys, globaltx_sidecar.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


WITH_DATABASES = """
import sys
from globaltx_sidecar.later import CRYPTOGRAPHY, at_first_use
with at_first_use(*CRYPTOGRAPHY):
    import globaltx_sidecar.databases
loaded = [name for name in sys.modules if name.startswith("cryptography.hazmat.")]
assert "cryptography.hazmat.bindings._rust" not in loaded, loaded
from pymysql import _auth
assert _auth._have_cryptography
"""


def test_the_driver_gets_its_cryptography_when_it_uses_it() -> None:
    key = "-----BEGIN PUBLIC KEY-----\\nno key\\n-----END PUBLIC KEY-----"
    program = f"""{WITH_DATABASES}
try:
    _auth.sha2_rsa_encrypt(b"secret", bytes(20), b"{key}")
except ValueError as error:  # the library's own word on what is no key
    print(type(error).__name__, "cryptography.hazmat.bindings._rust" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "ValueError True"
