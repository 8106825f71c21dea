"""What of this machine's own set-up a build needs to reach the package index, and never keeps."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dev.errors import ToolError
from dev.shell import run

if TYPE_CHECKING:
    from collections.abc import Mapping

_IN_CONTAINER = "/etc/ssl/certs/ca-certificates.crt"
# Options of pip that say how the index is reached; others are the machine's own affair.
_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
_CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


def volumes(scratch: Path) -> list[str]:
    """Options for buildah that lend the machine's certificates and pip configuration to a build."""
    options = read_options(_pip_config())
    bundle = ca_bundle(options, os.environ)
    mounts = [f"--volume={bundle}:{_IN_CONTAINER}:ro"] if bundle else []
    text = pip_conf(options, has_bundle=bool(bundle))
    if text:
        (scratch / "pip.conf").write_text(text)
        mounts.append(f"--volume={scratch / 'pip.conf'}:/etc/pip.conf:ro")
    return mounts


def read_options(listed: str) -> dict[str, str]:
    """The options in what `pip config list` prints; later lines (the environment's) count more."""
    options = {}
    for line in listed.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            options[name.rpartition(".")[2]] = value.strip().strip("'\"")
    return options


def ca_bundle(options: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """The bundle of certificates that this machine was told to trust, if it was told."""
    told = [options.get("cert"), *(environment.get(name) for name in _CA_VARIABLES)]
    return next((Path(path).resolve() for path in told if path and Path(path).is_file()), None)


def pip_conf(options: Mapping[str, str], *, has_bundle: bool) -> str:
    """The text of a pip.conf for the build; empty where there is nothing to say."""
    lines = [f"{name} = {options[name]}" for name in _OPTIONS if options.get(name)]
    if has_bundle:
        lines.append(f"cert = {_IN_CONTAINER}")
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def _pip_config() -> str:
    with suppress(ToolError):
        return run(sys.executable, "-m", "pip", "config", "list")
    return ""
