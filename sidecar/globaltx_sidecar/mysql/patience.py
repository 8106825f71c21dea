"""How long a local transaction waits for another global transaction's rows.

One bound for all that one statement waits for, however often it has to begin anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from globaltx_sidecar.commands import Now, Pause

if TYPE_CHECKING:
    from collections.abc import Generator

    from globaltx_sidecar.mysql.steps import Step

_PAUSE_FIRST_SECONDS: Final = 0.01
_PAUSE_LONGEST_SECONDS: Final = 0.1


class Patience:
    """Ends ``seconds`` after the first time that it was needed; pauses grow in between."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None
        self._pause = _PAUSE_FIRST_SECONDS
        self.waited_seconds = 0.0
        """When it was looked at last."""

    def lasts(self) -> Generator[Step, Any, bool]:
        """Pause, and say that it is worth another try; False at once when patience has ended."""
        now: float = yield Now()
        self._began = now if self._began is None else self._began
        self.waited_seconds = now - self._began
        if self.waited_seconds >= self._seconds:
            return False
        yield Pause(min(self._pause, self._seconds - self.waited_seconds))
        self._pause = min(2 * self._pause, _PAUSE_LONGEST_SECONDS)
        return True

    def ended(self) -> Generator[Step, Any, float]:
        """Seconds that were waited in all, now that it is needed no more."""
        if self._began is None:
            return 0.0
        now: float = yield Now()
        return now - self._began
