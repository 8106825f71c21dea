"""The console script ``globaltx-sidecar``: reads where it is, runs a `Sidecar` until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from globaltx.manifest.settings import (
    CREDENTIALS_FOLDER,
    ETCD_FOLDER,
    NOTIFY_FOLDER,
    SETTINGS_VARIABLE,
    TOKEN_FOLDER,
    SidecarSettings,
)
from globaltx.stores.kubernetes.access import Access, AccessError, from_kubeconfig, in_cluster
from globaltx.stores.kubernetes.election import Timing
from globaltx_sidecar.server import Sidecar, Surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_CONFIGURATION = 2
"""What it was told cannot be used; starting again does not help until that is changed."""
EXIT_FAILED = 1
_STOPPING = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code is 0 after an orderly stop."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    try:
        sidecar = Sidecar(_settings(options), _surroundings(options))
    except (ValueError, AccessError, OSError) as error:
        _log.error("%s", error)
        return EXIT_CONFIGURATION
    try:
        uvloop.run(_run(sidecar))
    except ExceptionGroup as group:
        refused, others = group.split(OSError)
        if refused is None or others is not None:
            raise
        _log.error("cannot start: %s", "; ".join(map(str, refused.exceptions)))
        return EXIT_FAILED
    return 0


async def _run(sidecar: Sidecar) -> None:
    """Run until asked to stop.

    The handlers are the process's and not the loop's, which would give the signals back to the system at
    its end: one more of them must not turn an orderly stop into a death by it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in _STOPPING:
        signal.signal(each, lambda *_: loop.call_soon_threadsafe(stop.set))
    await sidecar.run(stop)
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="globaltx-sidecar",
        description="Takes part in global transactions for the application beside it.",
    )
    add = parser.add_argument
    add("--settings", type=Path, metavar="FILE", help=f"settings as JSON, instead of ${SETTINGS_VARIABLE}")
    add("--kubeconfig", metavar="FILE", help="reach the API server by a kubeconfig, instead of as a pod")
    add("--context", metavar="NAME", help="the kubeconfig's context, instead of its current one")
    add("--pod", default=os.environ.get("POD_NAME") or socket.gethostname(), help="name of this pod")
    add("--credentials", type=Path, default=Path(CREDENTIALS_FOLDER), metavar="FOLDER")
    add("--etcd-credentials", type=Path, default=Path(ETCD_FOLDER), metavar="FOLDER")
    add("--notify-keys", type=Path, default=Path(NOTIFY_FOLDER), metavar="FOLDER")
    add("--grace-seconds", type=float, default=20.0, help="how long a stop waits for what is under way")
    add("--sweep-seconds", type=float, default=60.0, help="how old undo records are asked about")
    add(
        "--lease-seconds", type=float, default=15.0, help="how long a crashed leader's lease holds others off"
    )
    add("--control-host", default="0.0.0.0", help="where /healthz, /readyz and /metrics are listened for")  # noqa: S104
    add("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def _settings(options: argparse.Namespace) -> SidecarSettings:
    if options.settings is not None:
        source, text = str(options.settings), options.settings.read_text()
    else:
        source, text = f"${SETTINGS_VARIABLE}", os.environ.get(SETTINGS_VARIABLE, "")
    if not text:
        message = f"{source} is empty; it is made by the injection, or give --settings FILE"
        raise ValueError(message)
    try:
        return SidecarSettings.from_json(text)
    except ValueError as error:
        message = f"{source}: {error}"
        raise ValueError(message) from error


def _surroundings(options: argparse.Namespace) -> Surroundings:
    return Surroundings(
        access=_access(options),
        pod=options.pod,
        credentials=options.credentials,
        etcd_folder=options.etcd_credentials,
        notify_keys=options.notify_keys,
        grace=timedelta(seconds=options.grace_seconds),
        control_host=options.control_host,
        sweep_seconds=options.sweep_seconds,
        timing=Timing.lasting(options.lease_seconds),
    )


def _access(options: argparse.Namespace) -> Access:
    if options.kubeconfig or options.context:
        return from_kubeconfig(options.kubeconfig, options.context)
    return in_cluster(TOKEN_FOLDER)


if __name__ == "__main__":
    sys.exit(main())
