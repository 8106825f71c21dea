"""One line a step with the seconds it took, so that a long run is never silent."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY = 5.0


class Step:
    """A step under way; `tell` reports progress at most every five seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self._told = self.started

    @property
    def seconds(self) -> float:
        """How long the step has been going on."""
        return time.monotonic() - self.started

    def tell(self, detail: str) -> None:
        """Report how far the step is, unless it did so a moment ago."""
        now = time.monotonic()
        if now - self._told >= _EVERY:
            self._told = now
            say(f"  … {self.title}: {detail} ({self.seconds:.0f} s)")


def say(line: str) -> None:
    """Print a line of progress; standard output stays free for results."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Say what was done and how long it took, also when it failed."""
    running = Step(title)
    try:
        yield running
    except BaseException:
        say(f"✗ {title} ({running.seconds:.1f} s)")
        raise
    say(f"✓ {title} ({running.seconds:.1f} s)")
