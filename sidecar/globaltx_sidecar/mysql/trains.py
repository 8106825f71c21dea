"""The packet trains: what the sidecar sends to the database in one write.

A train of several statements is one COM_QUERY, because a multi-statement stops at its first
error and pipelined commands do not: after a deadlock (which has rolled the local transaction
back) the statement behind it must not run. Multi-statement is switched on only around it::

    COM_SET_OPTION on | COM_QUERY "a; b; c" | COM_SET_OPTION off

While an AT local transaction is open the option stays on between its trains, because switching
it back would cost the application its ROW_COUNT(). It is *lent* then: whatever the application
sends meanwhile is inspected, and what holds a semicolon goes on only after the option is back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from globaltx.values import dataclass
from globaltx_sidecar.mysql.packets import Command, Err, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx_sidecar.mysql.replies import Result

_SET_MULTI_STATEMENTS: Final = {
    True: frame(bytes((Command.SET_OPTION, 0, 0)), 0),
    False: frame(bytes((Command.SET_OPTION, 1, 0)), 0),
}
_QUERY: Final = bytes((Command.QUERY,))
PING: Final = frame(bytes((Command.PING,)), 0)
SEPARATOR: Final = b";"


@dataclass(frozen=True, slots=True)
class Train:
    """Bytes to send and the number of responses to wait for; none to send: those still on their way.

    ``verbatim``: their packets are kept as they come, and no row is read.
    """

    data: bytes
    responses: int
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back: the results of the statements, in order."""

    results: list[Result]

    @property
    def error(self) -> Err | None:
        """The error that stopped the train, if one did."""
        end = self.results[-1].end
        return end if isinstance(end, Err) else None

    @property
    def status(self) -> int | None:
        """The server's status flags; None after an error, which tells none."""
        end = self.results[-1].end
        return None if isinstance(end, Err) else end.status


def single(sql: bytes, *, verbatim: bool = False) -> Train:
    """One statement, as the connection would send it; it may hold what it likes."""
    return Train(frame(_QUERY + sql, 0), 1, verbatim)


def ping() -> Train:
    """Ask for nothing but the status flags, leaving warnings as they are."""
    return Train(PING, 1)


def switch(*, on: bool) -> Train:
    """Switch multi-statements; the answer carries the status flags and leaves warnings as they are."""
    return Train(_SET_MULTI_STATEMENTS[on], 1)


def holds_separator(statements: Sequence[bytes]) -> bool:
    """Whether one of them holds a semicolon."""
    # `in` would first try it as a number, and raise and drop an exception.
    return b"".join(statements).find(SEPARATOR) >= 0


def together(statements: Sequence[bytes]) -> Train:
    """Several statements that stop at the first error; none may hold a semicolon."""
    if holds_separator(statements):
        message = "a statement with a semicolon must not travel in a train"
        raise ValueError(message)
    return single(b"; ".join(statements))


def coupled(*trains: Train) -> Train:
    """Send several at once."""
    return Train(b"".join(train.data for train in trains), sum(train.responses for train in trains))
