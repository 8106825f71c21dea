"""Why a request has no answer: the application gave none, or there is nobody to give it to."""

from __future__ import annotations


class LostError(Exception):
    """The application gave no whole answer; ``untouched``: nothing of one, by a connection that was kept."""

    def __init__(self, message: str, *, untouched: bool = False) -> None:
        super().__init__(message)
        self.untouched = untouched


class SilentError(LostError):
    """The application took too long."""


class GoneError(ConnectionError):
    """There is no client any more to answer to."""

    def __init__(self) -> None:
        super().__init__("the client closed the connection")
