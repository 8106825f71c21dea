r"""One client's conversation with its database: events in, commands out, no input or output here.

A session goes through these phases::

    login -> authentication -> ready <-> working
                   ^            |  \
                   +------------+   +-> blind
                 (change user)        (replication streams)

*Ready* is the road of nearly all traffic: a client's bytes are looked at (`road`), and go on as
they are; what the database answers is followed (`results`) and goes on as it is. A packet that
may have to do with a global transaction waits until nothing is in flight, and then `phase_one`
works on it, alone; what the client sends meanwhile is held back.

The events are `client_data`, `database_data`, and, for a command that is to be answered,
`answered` and `failed`. The first two return None for "pass these very bytes on".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from globaltx.coordinator.policy import DEFAULT_ROWS
from globaltx.coordinator.reasons import Reason
from globaltx.values import replace
from globaltx_sidecar.commands import Close, Refused, ToClient, ToDatabase
from globaltx_sidecar.mysql import aftermath, errors, handshake
from globaltx_sidecar.mysql.authentication import Authentication
from globaltx_sidecar.mysql.intake import Intake
from globaltx_sidecar.mysql.local import Standing
from globaltx_sidecar.mysql.login import Login
from globaltx_sidecar.mysql.packets import (
    HEADER_LENGTH,
    PAYLOAD_LENGTH_MAX,
    Capability,
    Command,
    PacketError,
    Status,
    frame,
    statement_id_of,
)
from globaltx_sidecar.mysql.replies import Collector
from globaltx_sidecar.mysql.results import SILENT, Follower, Shape
from globaltx_sidecar.mysql.road import HEAD_LENGTH_MAX, Road
from globaltx_sidecar.mysql.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.commands import Command as SessionCommand
    from globaltx_sidecar.ports import Guards, Traces

_IN_TRANS: Final = int(Status.IN_TRANS)
_STATEMENTS: Final = frozenset({Command.QUERY, Command.STMT_PREPARE})


class Phase(Enum):
    """Where the conversation stands."""

    LOGIN = auto()
    AUTHENTICATION = auto()
    READY = auto()
    WORKING = auto()
    BLIND = auto()
    CLOSED = auto()


class Session:
    """The conversation of one client.

    ``resource``, ``schema``, ``rows_max`` and ``guards`` are the datasource's; ``lock_wait_seconds``
    bounds how long a local commit waits for another global transaction's row. ``terms`` are those of TLS;
    ``traces`` tell the xids of statements that name their trace. ``calls`` are those
    whose guard rows are written; None: none are.
    """

    def __init__(  # noqa: PLR0913  each is a setting of its own, most have a default
        self,
        resource: str,
        schema: str,
        lock_wait_seconds: float,
        terms: handshake.Terms = handshake.IN_THE_CLEAR,
        *,
        rows_max: int = DEFAULT_ROWS,
        guards: bool = False,
        traces: Traces | None = None,
        calls: Guards | None = None,
    ) -> None:
        self.phase = Phase.LOGIN
        self._login = Login(terms)
        self._authentication: Authentication | None = None
        self._nonce = b""
        self._intake = Intake()
        self._open_road = False
        self._drops_silently = False
        self._worker: Worker | None = None
        self._follower = Follower(deprecate_eof=False)
        self._standing = Standing(
            resource, schema, lock_wait_seconds, self._follower, rows_max, guards, traces=traces
        )
        self._standing.calls = calls
        self._begin(self._standing)

    def _begin(self, standing: Standing, *, deprecate_eof: bool = False) -> None:
        """Set up what speaks the dialect that client and server have agreed on."""
        self._follower = standing.follower
        self._standing = standing
        self._road = Road(standing)
        self._collector = Collector(deprecate_eof=deprecate_eof)

    @property
    def greeted(self) -> bool:
        """Whether the database has said a word."""
        return self._login.greeted

    @property
    def authenticated(self) -> bool:
        """Whether the server has let the client in."""
        return self.phase in {Phase.READY, Phase.WORKING, Phase.BLIND}

    @property
    def at_rest(self) -> bool:
        """Whether the connection can be closed without breaking off anything that runs."""
        if self.phase is not Phase.READY:
            return self.phase in {Phase.LOGIN, Phase.BLIND, Phase.CLOSED}
        runs = self._follower.in_flight or self._standing.in_transaction
        return self._intake.between_commands and not runs

    @property
    def held_back(self) -> int:
        """How many of the client's bytes wait for something other than more of its bytes."""
        waits = self.phase is Phase.WORKING or (self.phase is Phase.READY and self._follower.in_flight)
        return self._intake.held if waits else 0

    def client_data(self, data: bytes) -> list[SessionCommand] | None:
        """Take in what the client sent; None: pass it on as it is."""
        if self._open_road:
            road = self._road
            try:
                taken = road.takes(data)
            except PacketError:
                taken = False  # it will be looked at again, guarded
            if taken:
                if road.left:
                    self._turn_off()
                return None
        return self._guarded(lambda: self._client_data(data))

    def database_data(self, data: bytes) -> list[SessionCommand] | None:
        """Take in what the database sent; None: pass it on as it is."""
        if self._open_road:
            if self._follower.took_whole(data):
                standing = self._standing
                if standing.wrote_unhinted and not standing.in_transaction:
                    standing.ended()
                return None
            try:
                self._follow(data)
            except PacketError as error:
                return self._violated(error)
            return None
        return self._guarded(lambda: self._database_data(data))

    def answered(self, value: object) -> list[SessionCommand]:
        """What a command asked for has come."""
        if self.phase is Phase.LOGIN:
            return self._guarded(lambda: self._logged_in(self._login.secured()))
        if self._authentication is not None and isinstance(value, bytes):
            authentication = self._authentication
            return self._guarded(lambda: authentication.answered(value))
        return self._resumed(lambda worker: worker.answered(value))

    def failed(self, error: Exception) -> list[SessionCommand]:
        """What a command asked for will not come; raises what the work does not expect."""
        if self.phase is Phase.LOGIN and not self._login.tells_client:
            self._close()
            return [Close(f"no TLS with the client: {error}")]
        if self.phase in {Phase.LOGIN, Phase.AUTHENTICATION}:
            refused = handshake.HandshakeRefusedError(errors.not_secured(str(error)))
            return self._refused(refused)
        return self._resumed(lambda worker: worker.failed(error))

    def _guarded(self, handle: Callable[[], list[SessionCommand]]) -> list[SessionCommand]:
        """Handle an event; a peer that breaks the protocol loses the connection, nothing else."""
        try:
            return handle()
        except PacketError as error:
            return self._violated(error)
        except handshake.HandshakeRefusedError as refused:
            return self._refused(refused)

    def _refused(self, refused: handshake.HandshakeRefusedError) -> list[SessionCommand]:
        self._close()
        if not self._login.greeted:
            return [ToClient(frame(refused.error.encode_greeting(), 0)), Close(str(refused))]
        speaks = self._authentication or self._login
        return [ToClient(frame(refused.error.encode(), speaks.client_next)), Close(str(refused))]

    def _violated(self, error: PacketError) -> list[SessionCommand]:
        self._close()
        return [Close(f"a peer broke the protocol: {error}")]

    def _close(self) -> None:
        self.phase = Phase.CLOSED
        self._open_road = False

    # What the client sends

    def _client_data(self, data: bytes) -> list[SessionCommand]:
        if self.phase is Phase.LOGIN:
            return self._logged_in(self._login.client_data(data))
        if self.phase is Phase.AUTHENTICATION or self.phase is Phase.BLIND:
            return self._unread(data)
        self._intake.add(data)
        return self._proceed()

    def _unread(self, data: bytes) -> list[SessionCommand]:
        """Pass on what is no command."""
        if self._authentication is not None:
            return self._authentication.client_data(data)
        return [ToDatabase(data)]

    def _logged_in(self, commands: list[SessionCommand]) -> list[SessionCommand]:
        """Go over to the authentication when the response has passed."""
        response = self._login.response
        if response is not None:
            deprecate_eof = response.has(Capability.DEPRECATE_EOF)
            standing = replace(
                self._standing,
                follower=Follower(deprecate_eof=deprecate_eof),
                mariadb=self._login.mariadb,
                session_track=response.has(Capability.SESSION_TRACK),
                multi_statements=response.has(Capability.MULTI_STATEMENTS),
                chosen=response.schema,
            )
            self._begin(standing, deprecate_eof=deprecate_eof)
            self._follower.expect(Shape.AUTHENTICATION)
            self.phase = Phase.AUTHENTICATION
            if self._login.translates:
                self._authentication = Authentication(
                    self._login.nonce,
                    client_next=self._login.client_next,
                    database_next=self._login.database_next,
                )
            if rest := self._login.take_rest():
                commands += self._unread(rest)
        return commands

    def _proceed(self) -> list[SessionCommand]:
        """Take what is held back, packet by packet, as far as it goes."""
        commands: list[SessionCommand] = []
        while self.phase is Phase.READY and self._intake.held and self._take_one(commands):
            pass
        if self._intake.held and self.phase in {Phase.AUTHENTICATION, Phase.BLIND}:
            commands += self._unread(self._intake.everything())
        self._look_ahead()
        return commands

    def _look_ahead(self) -> None:
        """Decide whether the next bytes may take the open road."""
        self._open_road = (
            self.phase is Phase.READY
            and self._intake.between_commands
            and not self._standing.inspects
            and self._standing.aftermath is None
            and self._standing.guarded is None  # its end must be seen
            and not self._follower.wants_file
        )

    def _take_one(self, commands: list[SessionCommand]) -> bool:
        """Take one packet, or one piece of a streaming one; False if it must wait."""
        if piece := self._intake.piece():
            if not self._intake.dropping:
                commands.append(ToDatabase(piece))
            elif self._intake.dropped:
                commands += self._told_too_large()
            return True
        length = self._intake.length
        if length is None:
            return False
        if self._intake.continues:
            self._intake.stream(length)
            return True
        if self._follower.wants_file:
            if length == 0:
                self._follower.file_sent()
            self._intake.stream(length)
            return True
        if length == 0:
            message = "an empty packet where a command was expected"
            raise PacketError(message)
        return self._take_command(length, commands)

    def _take_command(self, length: int, commands: list[SessionCommand]) -> bool:
        inspects = self._standing.inspects
        whole = inspects or self._intake.command in _STATEMENTS
        head = self._intake.look(length if whole else min(length, HEAD_LENGTH_MAX))
        if head is None:
            return False
        asks = aftermath.asks(self._standing, head)
        if not (inspects or asks) and self._road.passes(head):
            self._intake.stream(length)
            if self._road.left:
                self._turn_off(passed=False)
            return True
        if self._follower.in_flight:
            return False
        packet_head = self._intake.look(length)
        if length == PAYLOAD_LENGTH_MAX:
            self._drop(head, length)
            return True
        if packet_head is None:
            return False
        self._worker = Worker(self._standing, self._road, self._collector, self._intake.packet(length))
        self.phase = Phase.WORKING
        commands += self._worked(self._worker.begin(), proceed=False)
        return True

    def _drop(self, head: bytes, length: int) -> None:
        """Let a command go by that is too large to be looked into.

        Raises:
            PacketError: it is one that makes no sense at this size.
        """
        command = self._intake.command
        if command in SILENT and command != Command.STMT_SEND_LONG_DATA:
            message = f"a command without an answer of {PAYLOAD_LENGTH_MAX} bytes or more"
            raise PacketError(message)
        self._drops_silently = command == Command.STMT_SEND_LONG_DATA
        if self._drops_silently:
            self._standing.statements.miss_long_data(statement_id_of(head[HEADER_LENGTH:]))
        self._intake.stream(length)
        self._intake.dropping = True

    def _told_too_large(self) -> list[SessionCommand]:
        self._intake.dropping = False
        if self._drops_silently:
            return []
        details = "a command of 16 MiB or more cannot be undone automatically; send its rows in smaller ones"
        refused = errors.refuse(Reason.STATEMENT_NOT_UNDOABLE, details)
        answer = frame(refused.error.encode(), (self._intake.sequence + 1) & 0xFF)
        return [Refused(refused.reason), ToClient(answer)]

    def _turn_off(self, *, passed: bool = True) -> None:
        """A packet has changed what the following bytes are; ``passed``: it has gone on already."""
        self.phase = Phase.AUTHENTICATION if self._road.left is Command.CHANGE_USER else Phase.BLIND
        self._road.left = None
        self._open_road = False
        if self.phase is Phase.AUTHENTICATION and self._login.translates:
            self._authentication = Authentication(self._nonce, client_next=1, database_next=int(passed))

    # What the database sends

    def _database_data(self, data: bytes) -> list[SessionCommand]:
        if self.phase is Phase.LOGIN:
            return self._login.database_data(data)
        if self.phase is Phase.WORKING and self._worker is not None:
            return self._worked(self._worker.database_data(data))
        if self.phase is Phase.CLOSED:
            return []
        authentication = self._authentication
        told: list[SessionCommand] = [ToClient(data)]
        if authentication is not None:
            told = authentication.database_data(data)
        if self.phase is not Phase.BLIND:
            self._follow(data)
        if authentication is not None and self.phase is not Phase.AUTHENTICATION:
            self._nonce = authentication.nonce
            self._authentication = None
        return [*told, *self._proceed()]

    def _follow(self, data: bytes) -> None:
        """Follow a response; what it tells about the local transaction is kept."""
        follower = self._follower
        follower.follow(data)
        while follower.prepared:
            self._standing.statements.answered(follower.prepared.popleft())
        if follower.in_flight:
            self._open_road = self._open_road and not follower.wants_file
            return
        if self.phase is Phase.AUTHENTICATION:
            self.phase = Phase.READY
        if follower.certain and not follower.status & _IN_TRANS:
            self._standing.ended()

    # Work on one packet

    def _resumed(self, resume: Callable[[Worker], list[SessionCommand]]) -> list[SessionCommand]:
        worker = self._worker
        return [] if worker is None else self._guarded(lambda: self._worked(resume(worker)))

    def _worked(self, commands: list[SessionCommand], *, proceed: bool = True) -> list[SessionCommand]:
        """Go on after a stretch of work; when it is done, the client's next packet has its turn."""
        if self._worker is not None and self._worker.done:
            self._worker = None
            self.phase = Phase.READY
            if self._road.left:
                self._turn_off()
            if proceed:
                commands += self._proceed()
        return commands
