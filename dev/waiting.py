"""Waiting for a condition by asking, never by sleeping a guessed time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from dev.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_for(what: str, ask: Callable[[], T | None], *, seconds: float = 60, every: float = 0.05) -> T:
    """Ask until the answer is true and give it back; a ToolError at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            message = f"waited {seconds:.0f} s in vain for {what}"
            raise ToolError(message)
        time.sleep(every)
