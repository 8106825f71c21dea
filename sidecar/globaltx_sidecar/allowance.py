"""How often something may be done: so many at once, and so many more with each second. Pure."""

from __future__ import annotations


class Allowance:
    """``now`` is seconds of any clock that begins at 0 or later."""

    def __init__(self, most: float, a_second: float) -> None:
        self._most = most
        self._a_second = a_second
        self._left = most
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Take one, if there is one left."""
        self._left = min(self._most, self._left + (now - self._at) * self._a_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
