"""Serve a Flask application until SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

import waitress

if TYPE_CHECKING:
    from types import FrameType

    from flask import Flask

THREADS = 8


def serve(app: Flask, port: int) -> None:
    """Answer requests on all addresses; an orderly end on SIGTERM, as Kubernetes sends it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    waitress.serve(app, host="0.0.0.0", port=port, threads=THREADS)  # noqa: S104  the pod's address


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
