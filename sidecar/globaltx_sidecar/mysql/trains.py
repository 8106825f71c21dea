"""The packet trains: what the sidecar sends to the database in one write.

A train of several statements is one COM_QUERY, because a multi-statement stops at its first
error and pipelined commands do not: after a deadlock (which has rolled the local transaction
back) the statement behind it must not run. Multi-statement is switched on only around it::

    COM_SET_OPTION on | COM_QUERY "a; b; c" | COM_SET_OPTION as it was

The last command's answer carries the status flags, also after an error: it tells whether the
local transaction still stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from globaltx_sidecar.mysql.packets import Command, Err, PacketError, frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx_sidecar.mysql.replies import Reply, Result

_SET_MULTI_STATEMENTS: Final = {
    True: frame(bytes((Command.SET_OPTION, 0, 0)), 0),
    False: frame(bytes((Command.SET_OPTION, 1, 0)), 0),
}
PING: Final = frame(bytes((Command.PING,)), 0)
SEPARATOR: Final = b";"


@dataclass(frozen=True, slots=True)
class Train:
    """Bytes to send and the number of responses to wait for."""

    data: bytes
    responses: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came back: the results of the statements, in order, and the status flags after all."""

    results: list[Result]
    status: int | None
    """None if only an ERR came, which tells none."""

    @property
    def error(self) -> Err | None:
        """The error that stopped the train, if one did."""
        end = self.results[-1].end
        return end if isinstance(end, Err) else None


def single(sql: bytes) -> Train:
    """One statement, as the connection would send it; it may hold what it likes."""
    return Train(frame(bytes((Command.QUERY,)) + sql, 0), 1)


def ping() -> Train:
    """Ask for nothing but the status flags, leaving warnings and row counts as they are."""
    return Train(PING, 1)


def together(statements: Sequence[bytes], *, multi_statements: bool) -> Train:
    """Several statements that stop at the first error; none may hold a semicolon.

    ``multi_statements`` tells whether the application has the option on, so that it is left so.
    """
    if any(SEPARATOR in statement for statement in statements):
        message = "a statement with a semicolon must not travel in a train"
        raise ValueError(message)
    query = frame(bytes((Command.QUERY,)) + b"; ".join(statements), 0)
    return Train(_SET_MULTI_STATEMENTS[True] + query + _SET_MULTI_STATEMENTS[multi_statements], 3)


def arrival(train: Train, replies: Sequence[Reply]) -> Arrival:
    """Put the responses to a train together.

    Raises:
        PacketError: the option could not be switched, so nothing is certain about the connection.
    """
    if train.responses == 1:
        end = replies[0].last.end
        return Arrival(replies[0].results, None if isinstance(end, Err) else end.status)
    switched_on, statements, switched_back = replies
    end = switched_back.last.end
    if switched_on.error or isinstance(end, Err):
        message = "the server refused COM_SET_OPTION"
        raise PacketError(message)
    return Arrival(statements.results, end.status)
