"""The steps of work on one client packet, and the questions that all work asks.

Work is a generator: it yields steps and commands, and reads from top to bottom although its
answers come over the network. `Session` drives it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from globaltx.undo.sqlmode import SqlMode
from globaltx.values import dataclass
from globaltx_sidecar.commands import (
    Began,
    Committed,
    Describe,
    Found,
    HasJoined,
    Join,
    LookUp,
    Now,
    Pause,
    Refused,
    Register,
)
from globaltx_sidecar.mysql import trains
from globaltx_sidecar.mysql.local import Settings
from globaltx_sidecar.mysql.packets import Err, Ok, PacketError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.replies import Reply, Result, Row
    from globaltx_sidecar.mysql.statements import Prepared
    from globaltx_sidecar.mysql.trains import Arrival, Train


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a train to the database; answered with its replies."""

    train: Train


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the client's packet with this payload; again, behind an OK that more results follow."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Relay:
    """Answer the client's packet with these payloads; again, behind an end that more results follow."""

    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PassOn:
    """Send a packet on as if it had just come from the client; ends the work.

    ``prepared`` is what a COM_STMT_PREPARE prepares, if that is known better than by its look.
    """

    packet: bytes
    prepared: Prepared | None = None


Step: TypeAlias = (
    Ask
    | Answer
    | Relay
    | PassOn
    | Register
    | HasJoined
    | Join
    | Describe
    | LookUp
    | Pause
    | Now
    | Refused
    | Committed
    | Found
    | Began
)
Work: TypeAlias = Generator[Step, Any, None]

_SETTINGS: Final = (
    b"SELECT CAST(HEX(CONVERT(DATABASE() USING utf8mb4)) AS BINARY), CAST(@@character_set_client AS BINARY),"
    b" CAST(@@sql_mode AS BINARY)"
)
"""As bytes, which no ``character_set_results`` changes on the way."""
ROLLBACK: Final = b"ROLLBACK AND NO CHAIN NO RELEASE"
COMMIT: Final = b"COMMIT AND NO CHAIN NO RELEASE"
"""Whole, so that no completion_type of the application changes what ours mean."""


def narrow(told: bytes) -> bytes:
    """What is ASCII in any case; the session may have chosen two bytes a character, or four."""
    return told.replace(b"\0", b"")


def ask(standing: Standing, train: Train) -> Generator[Step, Any, Arrival]:
    """Send a train of one answer and take in what it says about the local transaction."""
    yield from _collect(standing)
    (reply,) = yield Ask(train)
    arrived = trains.Arrival(reply.results)
    standing.told(arrived.status)
    return arrived


def run(
    standing: Standing, statements: Sequence[bytes], *, switch_back: bool = False, verbatim: bool = False
) -> Generator[Step, Any, Arrival]:
    """Run statements until the first error: in one train, or one by one if one holds a semicolon.

    ``switch_back``: multi-statements are no longer needed behind them; ``verbatim``: see `Train`.
    After an error the standing is certain again.
    """
    alone = len(statements) == 1 and not (switch_back and standing.lent)
    if alone or trains.holds_separator(statements):
        arrived = yield from _one_by_one(standing, statements, verbatim=verbatim)
    else:
        arrived = yield from _together(standing, statements, switch_back=switch_back, verbatim=verbatim)
    yield from settle_status(standing)
    return arrived


def _one_by_one(
    standing: Standing, statements: Sequence[bytes], *, verbatim: bool
) -> Generator[Step, Any, Arrival]:
    results: list[Result] = []
    for statement in statements:
        if trains.SEPARATOR in statement:
            yield from give_back(standing)
        arrived = yield from ask(standing, trains.single(statement, verbatim=verbatim))
        results += arrived.results
        if arrived.error is not None:
            break
    return trains.Arrival(results)


def _together(
    standing: Standing, statements: Sequence[bytes], *, switch_back: bool, verbatim: bool
) -> Generator[Step, Any, Arrival]:
    yield from _collect(standing)
    parts = [trains.together(statements)]
    lend = not (standing.lent or standing.multi_statements)
    if lend:
        parts.insert(0, trains.switch(on=True))
        standing.lent = True
    back = switch_back and standing.lent
    if back:
        parts.append(trains.switch(on=False))
    data = trains.coupled(*parts).data
    replies = yield Ask(trains.Train(data, 2 if lend else 1, verbatim))
    standing.owed = back
    if lend:
        _switched(replies[0])
    arrived = trains.Arrival(replies[-1].results)
    standing.told(arrived.status)
    return arrived


def give_back(standing: Standing) -> Generator[Step, Any, None]:
    """Switch multi-statements off if they are lent; take in the answer if that is under way."""
    if standing.lent:
        (reply,) = yield Ask(trains.Train(b"", 1) if standing.owed else trains.switch(on=False))
        standing.lent = standing.owed = False
        standing.told(_switched(reply))


def _collect(standing: Standing) -> Generator[Step, Any, None]:
    """Take in the answer to the last switch, if it is under way: others will come behind it."""
    if standing.owed:
        yield from give_back(standing)


def _switched(reply: Reply) -> int:
    end = reply.last.end
    if isinstance(end, Err):
        message = f"the server refused COM_SET_OPTION: {end.code}"
        raise PacketError(message)
    return end.status


def settle_status(standing: Standing) -> Generator[Step, Any, None]:
    """After an error: ask whether the local transaction still stands."""
    if not standing.follower.certain:
        yield from give_back(standing)
    if not standing.follower.certain:
        arrived = yield from ask(standing, trains.ping())
        if arrived.error is not None:
            message = "the server answered COM_PING by an error"
            raise PacketError(message)


def settings_of(standing: Standing) -> Generator[Step, Any, Settings]:
    """Ask for the connection's settings unless they are known."""
    if standing.settings is None:
        arrived = yield from ask(standing, trains.single(_SETTINGS))
        if arrived.error is not None:
            raise ServerError(arrived.error)
        row = only_row(arrived, columns=3)
        schema, charset, sql_mode = (value and value.decode("latin-1") for value in row)
        mode = SqlMode.of(sql_mode or "", charset or "utf8mb4")
        standing.settings = Settings(bytes.fromhex(schema).decode() if schema else None, mode)
    return standing.settings


def roll_back(standing: Standing) -> Generator[Step, Any, None]:
    """Roll the local transaction back; if the server refuses even that, the connection cannot go on."""
    arrived = yield from ask(standing, trains.single(ROLLBACK))
    if arrived.error is not None:
        message = f"the server refused a ROLLBACK: {arrived.error.code}"
        raise PacketError(message)
    standing.ended()
    standing.savepoints = False


def only_row(arrived: Arrival, *, columns: int) -> Row:
    """The one row that a question of ours is answered with.

    Raises:
        PacketError: it was not.
    """
    rows = arrived.results[-1].rows
    if len(rows) != 1 or len(rows[0]) != columns:
        message = "the server answered a question by other rows than were asked for"
        raise PacketError(message)
    return rows[0]


class ServerError(Exception):
    """The server answered by an error; the application gets it as it is."""

    def __init__(self, error: Err) -> None:
        super().__init__(error.message)
        self.error = error


def end_of(arrived: Arrival) -> Ok:
    """The OK that ended the last statement.

    Raises:
        ServerError: it was an error.
    """
    end = arrived.results[-1].end
    if isinstance(end, Err):
        raise ServerError(end)
    return end
