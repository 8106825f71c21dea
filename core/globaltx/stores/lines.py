"""A stream of bytes cut into lines, with a bound on what one line may hold."""

from __future__ import annotations


class LineTooLongError(ValueError):
    """The peer sent more without an end of line than we are ready to hold."""


class Lines:
    """Feed pieces as they come, get the lines that they complete, without their ends.

    It holds at most ``length_max`` bytes between two calls.
    """

    def __init__(self, length_max: int) -> None:
        self._length_max = length_max
        self._pieces: list[bytes] = []
        self._held = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines completed by this piece; empty lines are left out.

        Raises:
            LineTooLongError: a line is longer than allowed.
        """
        *ended, rest = piece.split(b"\n")
        lines = [self._take(part) for part in ended]
        self._hold(rest)
        return [line for line in lines if line]

    def _take(self, part: bytes) -> bytes:
        self._hold(part)
        line = b"".join(self._pieces).rstrip(b"\r")
        self._pieces.clear()
        self._held = 0
        return line

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held > self._length_max:
            message = f"a line is longer than {self._length_max} bytes"
            raise LineTooLongError(message)
        if part:
            self._pieces.append(part)
