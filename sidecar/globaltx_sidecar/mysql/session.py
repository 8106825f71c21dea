"""One client's conversation with its database: events in, commands out, no input or output here.

A session goes through these phases::

    greeting -> response -> authentication -> ready <-> working
                                 ^              |  \\
                                 +- change user +   +-> blind (replication streams)

*Ready* is the road of nearly all traffic: a client's bytes are looked at (`road`), and go on as
they are; what the database answers is followed (`results`) and goes on as it is. A packet that
may have to do with a global transaction waits until nothing is in flight, and then `phase_one`
works on it, alone; what the client sends meanwhile is held back.

The events are `client_data`, `database_data`, and, for a command that is to be answered,
`answered` and `failed`. The first two return None for "pass these very bytes on".
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from globaltx_sidecar.commands import Close, Committed, Refused, Register, ToClient, ToDatabase
from globaltx_sidecar.mysql import handshake, phase_one
from globaltx_sidecar.mysql.local import Standing
from globaltx_sidecar.mysql.packets import (
    HEADER_LENGTH,
    PAYLOAD_LENGTH_MAX,
    Capability,
    Command,
    PacketError,
    frame,
)
from globaltx_sidecar.mysql.reader import Packet, PacketReader
from globaltx_sidecar.mysql.replies import Collector, Reply
from globaltx_sidecar.mysql.results import Follower, Shape
from globaltx_sidecar.mysql.road import HEAD_LENGTH_MAX, Road
from globaltx_sidecar.mysql.steps import Answer, Ask, PassOn

if TYPE_CHECKING:
    from collections.abc import Callable

    from globaltx_sidecar.commands import Command as SessionCommand
    from globaltx_sidecar.mysql.steps import Step, Work

STATEMENT_LENGTH_MAX: Final = 16 * 1024 * 1024
"""So much of a statement is waited for and searched for an xid; a longer one streams on after that."""

Commands = list["SessionCommand"]


class Phase(Enum):
    """Where the conversation stands."""

    GREETING = auto()
    RESPONSE = auto()
    AUTHENTICATION = auto()
    READY = auto()
    WORKING = auto()
    BLIND = auto()
    CLOSED = auto()


class Session:
    """The conversation of one client.

    ``resource`` and ``schema`` are the datasource's; ``lock_wait_seconds`` bounds how long a
    local commit waits for another global transaction's row.
    """

    def __init__(self, resource: str, schema: str, lock_wait_seconds: float) -> None:
        self._resource = resource
        self._schema = schema
        self._lock_wait_seconds = lock_wait_seconds
        self._phase = Phase.GREETING
        self._reader = PacketReader(handshake.RESPONSE_LENGTH_MAX)
        self._held = bytearray()
        self._streaming = 0
        self._stream_goes_on = False
        self._open_road = False
        self._greeting: handshake.Greeting | None = None

    @property
    def phase(self) -> Phase:
        """Where the conversation stands."""
        return self._phase

    @property
    def authenticated(self) -> bool:
        """Whether the server has let the client in."""
        return self._phase in {Phase.READY, Phase.WORKING, Phase.BLIND}

    @property
    def at_rest(self) -> bool:
        """Whether the connection can be closed without breaking off anything that runs."""
        if self._phase is not Phase.READY:
            return self._phase not in {Phase.WORKING, Phase.AUTHENTICATION}
        return not (
            self._held or self._streaming or self._follower.in_flight or self._standing.in_transaction
        )

    @property
    def held_back(self) -> int:
        """How many of the client's bytes wait for something other than more of its bytes."""
        waits = self._phase is Phase.WORKING or (self._phase is Phase.READY and self._follower.in_flight)
        return len(self._held) if waits else 0

    def client_data(self, data: bytes) -> Commands | None:
        """Take in what the client sent; None: pass it on as it is."""
        if self._open_road and self._is_one_packet(data) and self._road.passes(data):
            if self._road.left:
                self._turn_off()
            return None
        return self._guarded(self._client_data, data)

    def database_data(self, data: bytes) -> Commands | None:
        """Take in what the database sent; None: pass it on as it is."""
        if self._phase is Phase.READY and not self._held:
            try:
                self._follow(data)
            except PacketError as error:
                return self._violated("the database", error)
            return None
        return self._guarded(self._database_data, data)

    def answered(self, value: object) -> Commands:
        """What a command asked for has come."""
        return self._guarded(lambda out: self._work_on(out, value), None)

    def failed(self, error: Exception) -> Commands:
        """What a command asked for will not come."""

        def throw(out: Commands) -> None:
            self._drive(out, lambda: self._work.throw(error))

        return self._guarded(throw, None)

    def _guarded(self, handle: Callable[..., None], data: bytes | None) -> Commands:
        out: Commands = []
        try:
            if data is None:
                handle(out)
            else:
                handle(data, out)
        except PacketError as error:
            out += self._violated("a peer", error)
        except handshake.HandshakeRefusedError as refused:
            self._phase = Phase.CLOSED
            out.append(ToClient(frame(refused.error.encode(), 2)))
            out.append(Close(str(refused)))
        return out

    def _violated(self, who: str, error: PacketError) -> Commands:
        self._phase = Phase.CLOSED
        self._open_road = False
        return [Close(f"{who} broke the protocol: {error}")]

    # What the client sends

    def _client_data(self, data: bytes, out: Commands) -> None:
        if self._phase is Phase.RESPONSE:
            self._response(data, out)
        elif self._phase in {Phase.AUTHENTICATION, Phase.BLIND}:
            out.append(ToDatabase(data))
        elif self._phase is Phase.GREETING:
            message = "the client spoke before the greeting"
            raise PacketError(message)
        elif self._phase is not Phase.CLOSED:
            self._held += data
            self._proceed(out)

    def _response(self, data: bytes, out: Commands) -> None:
        """The client's answer to the greeting; what it sends behind belongs to the authentication."""
        self._reader.feed(data)
        packet = self._reader.next_packet()
        if packet is None or self._greeting is None:
            return
        response = handshake.read_response(packet.payload, self._greeting)
        self._begin(response)
        out.append(ToDatabase(frame(response.payload, packet.sequence) + self._reader.take_rest()))

    def _begin(self, response: handshake.Response) -> None:
        deprecate_eof = response.has(Capability.DEPRECATE_EOF)
        self._follower = Follower(deprecate_eof=deprecate_eof)
        self._collector = Collector(deprecate_eof=deprecate_eof)
        self._standing = Standing(
            resource=self._resource,
            schema=self._schema,
            lock_wait_seconds=self._lock_wait_seconds,
            follower=self._follower,
            session_track=response.has(Capability.SESSION_TRACK),
            multi_statements=response.has(Capability.MULTI_STATEMENTS),
        )
        self._road = Road(self._standing)
        self._follower.expect(Shape.AUTHENTICATION)
        self._phase = Phase.AUTHENTICATION

    def _proceed(self, out: Commands) -> None:
        """Take what is held back, packet by packet, as far as it goes."""
        while self._held and self._phase is Phase.READY and self._take_one(out):
            pass
        if self._held and self._phase in {Phase.AUTHENTICATION, Phase.BLIND}:
            out.append(ToDatabase(self._release(len(self._held))))
        self._open_road = (
            self._phase is Phase.READY
            and not (self._held or self._streaming or self._stream_goes_on)
            and not (self._standing.inspects or self._follower.wants_file)
        )

    def _release(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[: len(data)]
        return data

    def _take_one(self, out: Commands) -> bool:
        """Take one packet, or one piece of a streaming one; False if it must wait."""
        if self._streaming:
            data = self._release(self._streaming)
            self._streaming -= len(data)
            out.append(ToDatabase(data))
            return True
        if len(self._held) < HEADER_LENGTH:
            return False
        length = int.from_bytes(self._held[:3], "little")
        if self._stream_goes_on or self._follower.wants_file:
            if not self._stream_goes_on and length == 0:
                self._follower.file_sent()
            self._stream(length)
            return True
        if length == 0:
            message = "an empty packet where a command was expected"
            raise PacketError(message)
        return self._take_command(length, out)

    def _stream(self, length: int) -> None:
        """Let a packet go on in whatever pieces it comes."""
        self._streaming = HEADER_LENGTH + length
        self._stream_goes_on = length == PAYLOAD_LENGTH_MAX

    def _take_command(self, length: int, out: Commands) -> bool:
        inspects = self._standing.inspects
        wanted = length if inspects or self._is_statement() else min(length, HEAD_LENGTH_MAX)
        if len(self._held) < HEADER_LENGTH + min(wanted, STATEMENT_LENGTH_MAX):
            return False
        head = bytes(self._held[: HEADER_LENGTH + wanted])
        if not inspects and self._road.passes(head):
            self._stream(length)
            if self._road.left:
                self._turn_off()
            return True
        if self._follower.in_flight:
            return False
        if length == PAYLOAD_LENGTH_MAX:
            message = f"a statement with an xid of {STATEMENT_LENGTH_MAX} bytes or more"
            raise PacketError(message)
        raw = self._release(HEADER_LENGTH + length)
        packet = Packet(raw[3], raw[HEADER_LENGTH:], (raw[3] + 1) & 0xFF, raw)
        self._start(packet, out)
        return True

    def _is_statement(self) -> bool:
        return len(self._held) > HEADER_LENGTH and self._held[HEADER_LENGTH] in {
            Command.QUERY,
            Command.STMT_PREPARE,
        }

    def _turn_off(self) -> None:
        """The packet that just passed has changed what the following bytes are."""
        self._phase = Phase.BLIND if self._road.left is Command.BINLOG_DUMP else Phase.AUTHENTICATION
        self._road.left = None
        self._open_road = False

    @staticmethod
    def _is_one_packet(data: bytes) -> bool:
        return (
            len(data) > HEADER_LENGTH
            and data[0] | data[1] << 8 | data[2] << 16 == len(data) - HEADER_LENGTH
            and len(data) - HEADER_LENGTH < PAYLOAD_LENGTH_MAX
        )

    # What the database sends

    def _database_data(self, data: bytes, out: Commands) -> None:
        if self._phase is Phase.WORKING:
            for reply in self._collector.collect(data):
                self._gather(reply, out)
        elif self._phase is Phase.GREETING:
            self._greet(data, out)
        elif self._phase is Phase.AUTHENTICATION:
            self._authenticate(data, out)
        elif self._phase in {Phase.READY, Phase.BLIND}:
            out.append(ToClient(data))
            if self._phase is Phase.READY:
                self._follow(data)
                self._proceed(out)
        elif self._phase is Phase.RESPONSE:
            out.append(ToClient(data))

    def _greet(self, data: bytes, out: Commands) -> None:
        self._reader.feed(data)
        packet = self._reader.next_packet()
        if packet is None:
            return
        self._greeting = handshake.read_greeting(packet.payload)
        out.append(ToClient(frame(self._greeting.payload, packet.sequence)))
        if self._greeting.refused:
            self._phase = Phase.CLOSED
            out.append(Close("the database refused the connection"))
            return
        self._phase = Phase.RESPONSE

    def _authenticate(self, data: bytes, out: Commands) -> None:
        self._follower.follow(data)
        out.append(ToClient(data))
        if not self._follower.in_flight:
            self._phase = Phase.READY
            self._proceed(out)

    def _follow(self, data: bytes) -> None:
        """Follow a response; what it tells about the local transaction is kept."""
        follower = self._follower
        follower.follow(data)
        while follower.prepared:
            self._standing.statements.answered(follower.prepared.popleft())
        if follower.wants_file:
            self._open_road = False
        elif not follower.in_flight and follower.certain and not self._standing.in_transaction:
            self._standing.ended()
            if not self._open_road:
                self._proceed([])

    # Work on one packet

    def _start(self, packet: Packet, out: Commands) -> None:
        self._packet = packet
        self._work: Work = phase_one.handle(self._standing, packet)
        self._replies: list[Reply] = []
        self._awaited = 0
        self._phase = Phase.WORKING
        self._open_road = False
        self._work_on(out, None)

    def _gather(self, reply: Reply, out: Commands) -> None:
        if not self._awaited:
            message = "the database answered what was not asked"
            raise PacketError(message)
        self._replies.append(reply)
        if len(self._replies) == self._awaited:
            replies, self._replies, self._awaited = self._replies, [], 0
            self._work_on(out, replies)

    def _work_on(self, out: Commands, value: Any) -> None:
        self._drive(out, lambda: self._work.send(value))

    def _drive(self, out: Commands, resume: Callable[[], Step]) -> None:
        """Run the work until it waits for something, or ends."""
        try:
            while not self._waits_for(resume(), out):
                resume = self._resume
        except StopIteration:
            self._finish(out)

    def _resume(self) -> Step:
        return self._work.send(None)

    def _waits_for(self, step: Step, out: Commands) -> bool:
        if isinstance(step, Ask):
            self._awaited = step.train.responses
            out.append(ToDatabase(step.train.data))
            return True
        if isinstance(step, Answer):
            out.append(ToClient(frame(step.payload, self._packet.next_sequence)))
            return False
        if isinstance(step, PassOn):
            self._pass_on(step, out)
            return False
        out.append(step)
        return not isinstance(step, Register | Refused | Committed)

    def _pass_on(self, step: PassOn, out: Commands) -> None:
        self._road.pass_on(step.packet, step.prepared)
        out.append(ToDatabase(step.packet))

    def _finish(self, out: Commands) -> None:
        self._phase = Phase.READY
        if self._collector.pending:
            message = "the database answered more than was asked"
            raise PacketError(message)
        if self._road.left:
            self._turn_off()
        self._proceed(out)
