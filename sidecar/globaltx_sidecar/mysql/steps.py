"""The steps of work on one client packet, and the questions that all work asks.

Work is a generator: it yields steps and commands, and reads from top to bottom although its
answers come over the network. `Session` drives it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from globaltx.undo.sqlmode import SqlMode
from globaltx_sidecar.commands import Committed, Describe, Join, LookUp, Now, Pause, Refused, Register
from globaltx_sidecar.mysql import trains
from globaltx_sidecar.mysql.local import Settings
from globaltx_sidecar.mysql.packets import Err, Ok, PacketError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from globaltx_sidecar.mysql.local import Standing
    from globaltx_sidecar.mysql.statements import Prepared
    from globaltx_sidecar.mysql.trains import Arrival, Train


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a train to the database; answered with its replies."""

    train: Train


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the client's packet with this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PassOn:
    """Send a packet on as if it had just come from the client; ends the work.

    ``prepared`` is what a COM_STMT_PREPARE prepares, if that is known better than by its look.
    """

    packet: bytes
    prepared: Prepared | None = None


Step: TypeAlias = (
    Ask | Answer | PassOn | Register | Join | Describe | LookUp | Pause | Now | Refused | Committed
)
Work: TypeAlias = Generator[Step, Any, None]

_SETTINGS: Final = b"SELECT HEX(CONVERT(DATABASE() USING utf8mb4)), @@character_set_client, @@sql_mode"
ROLLBACK: Final = b"ROLLBACK AND NO CHAIN NO RELEASE"
COMMIT: Final = b"COMMIT AND NO CHAIN NO RELEASE"
"""Whole, so that no completion_type of the application changes what ours mean."""


def ask(standing: Standing, train: Train) -> Generator[Step, Any, Arrival]:
    """Send a train and take in what its answer says about the local transaction."""
    replies = yield Ask(train)
    arrived = trains.arrival(train, replies)
    standing.told(arrived.status)
    return arrived


def run(standing: Standing, statements: Sequence[bytes]) -> Generator[Step, Any, Arrival]:
    """Run statements until the first error: in one train, or one by one if one holds a semicolon."""
    if len(statements) > 1 and not any(trains.SEPARATOR in statement for statement in statements):
        train = trains.together(statements, multi_statements=standing.multi_statements)
        return (yield from ask(standing, train))
    gathered: Arrival = trains.Arrival([], None)
    for statement in statements:
        arrived = yield from ask(standing, trains.single(statement))
        gathered = trains.Arrival(gathered.results + arrived.results, arrived.status)
        if arrived.error is not None:
            yield from settle_status(standing)
            break
    return gathered


def settle_status(standing: Standing) -> Generator[Step, Any, None]:
    """After an error: ask whether the local transaction still stands."""
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
        row = arrived.results[0].rows[0]
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
